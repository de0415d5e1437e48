"""Draw docs/concurrency.svg: the limit of requests in flight against a server with a knee, through a brownout."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.virtual import simulate
from hl_async.governor import ConcurrencyLimit

WIDTH, HEIGHT, LEFT, BOTTOM = 640, 260, 44, 28
SECONDS, TOP = 120.0, 120.0


def main() -> int:
    """Simulate 120 seconds and write the picture; prints where the limit settled."""
    limit = ConcurrencyLimit(400)
    history = simulate(limit, 40, 30)
    history += simulate(limit, 40, 30, start=30, base=lambda now: 2.0)
    history += simulate(limit, 40, 60, start=60)

    def x(seconds: float) -> float:
        return LEFT + seconds / SECONDS * (WIDTH - LEFT - 10)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - min(value, TOP) / TOP * (HEIGHT - BOTTOM - 12)

    corners = [(0.0, history[0][1])]
    for now, value in history:
        if value != corners[-1][1] and now <= SECONDS:
            corners += [(now, corners[-1][1]), (now, value)]
    corners.append((SECONDS, corners[-1][1]))
    points = " ".join(f"{x(now):.1f},{y(value):.1f}" for now, value in corners)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<rect x="{x(30):.1f}" y="12" width="{x(60) - x(30):.1f}" height="{HEIGHT - BOTTOM - 12}" fill="#fbe9e7"/>',
        f'<text x="{x(31):.1f}" y="24" fill="#a33">twenty times slower</text>',
        f'<line x1="{LEFT}" x2="{WIDTH - 10}" y1="{y(40):.1f}" y2="{y(40):.1f}" stroke="#888" stroke-dasharray="4 3"/>',
        f'<text x="{WIDTH - 108}" y="{y(40) - 4:.1f}" fill="#666">capacity 40</text>',
    ]
    for seconds in range(0, 121, 20):
        lines.append(f'<text x="{x(seconds):.1f}" y="{HEIGHT - 10}" text-anchor="middle">{seconds} s</text>')
    for value in range(0, 121, 40):
        lines.append(f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value}</text>')
    lines.append(f'<polyline points="{points}" fill="none" stroke="#1565c0" stroke-width="1.5"/>')
    lines.append("</svg>")
    path = Path(__file__).parents[1] / "docs" / "concurrency.svg"
    path.write_text("\n".join(lines) + "\n")
    settled = [value for now, value in history if 15 < now < 30]
    lowest = min(value for now, value in history if 30 < now < 60)
    after = [value for now, value in history if 100 < now < 120]
    print(
        f"settled at {sum(settled) / len(settled):.0f}, fell to {lowest}, back at {sum(after) / len(after):.0f}; wrote {path.name}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
