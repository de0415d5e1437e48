"""The frame of every page: navigation, style, tables, forms. Everything that comes from outside is escaped here."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any, Final

CSS: Final = """
:root { color-scheme: light dark; --line: #c4c8d0; --soft: #eef1f5; --ink: #14171c; --page: #fff; --link: #0a4fa3;
  --bad: #a1121f; --good: #0b6b3a; font: 16px/1.5 system-ui, sans-serif }
@media (prefers-color-scheme: dark) { :root { --line: #4a515c; --soft: #22272e; --ink: #e8eaed; --page: #14171c;
  --link: #8ab8ff; --bad: #ff9aa2; --good: #7fdca4 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--page); color: var(--ink) }
a { color: var(--link) }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px }
.skip { position: absolute; left: -999rem } .skip:focus { left: 1rem; top: .5rem; background: var(--page) }
header { border-bottom: 1px solid var(--line); padding: .5rem 1rem; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem;
  align-items: baseline }
header strong { margin-right: .5rem }
nav a { display: inline-block; padding: .4rem .1rem; margin-right: 1rem } nav a[aria-current] { font-weight: 600 }
main { max-width: 72rem; margin: 0 auto; padding: 1rem }
h1 { font-size: 1.4rem; margin: .5rem 0 1rem; overflow-wrap: anywhere } h2 { font-size: 1.1rem; margin: 1.75rem 0 .5rem }
.scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .4rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top }
th { white-space: nowrap } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
code, .id { font: .9em ui-monospace, monospace; overflow-wrap: anywhere }
.bad { color: var(--bad) } .good { color: var(--good) }
form.row { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: end; margin: .5rem 0 }
label { display: block; min-width: 0; max-width: 100% } input, select, button { font: inherit; padding: .35rem .6rem; max-width: 100% }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(12.5rem, 1fr)); gap: .75rem; margin: 0; padding: 0;
  list-style: none } .cards li { border: 1px solid var(--line); border-radius: .4rem; padding: .6rem .8rem }
.cards b { display: block; font-size: 1.3rem; font-variant-numeric: tabular-nums }
.paper { max-width: 46rem; margin: 0 auto; background: #fff; color: #14171c; border: 1px solid #c4c8d0; padding: 2rem }
.paper th, .paper td { border-color: #d8dbe0 } .paper .parties { display: flex; flex-wrap: wrap; gap: 1rem 3rem;
  justify-content: space-between; margin: 1rem 0 } .paper tfoot th { text-align: right } .paper h1 { margin: 0 }
.paper .sum td, .paper .sum th { font-weight: 700; font-size: 1.1rem; border-top: 2px solid #14171c }
@media (max-width: 40rem) { .paper { padding: 1rem } th, td { padding: .35rem .4rem } }
@media print { header, .noprint { display: none } main { padding: 0; max-width: none } .paper { border: 0; padding: 0 } }
"""

POLICY: Final = (
    "default-src 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(CSS.encode()).digest()).decode()
    + "'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

_PLACES: Final = (
    ("", "Overview"),
    ("requests", "Requests"),
    ("switches", "Switches"),
    ("webhooks", "Webhooks"),
)


def text(value: Any) -> str:
    """A value as escaped text; None is nothing."""
    return "" if value is None else escape(str(value))


def page(title: str, body: str, *, prefix: str, here: str | None = None, refresh: int = 0) -> str:
    """A whole page; ``refresh`` reloads it every so many seconds."""
    links = []
    for path, name in _PLACES:
        current = ' aria-current="page"' if path == here else ""
        links.append(f'<a href="{prefix}/{path}"{current}>{name}</a>')
    again = f'<meta http-equiv="refresh" content="{refresh}">' if refresh else ""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{text(title)} · HighLevel sandbox</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">{again}<style>{CSS}</style></head><body>'
        f'<a class="skip" href="#main">Skip to the content</a>'
        f'<header><strong>HighLevel sandbox</strong><nav aria-label="Pages">{"".join(links)}</nav></header>'
        f'<main id="main"><h1>{text(title)}</h1>{body}</main></body></html>'
    )


def table(
    caption: str, heads: Iterable[str], rows: Iterable[Iterable[str]], numbers: frozenset[int] = frozenset()
) -> str:
    """A table of cells that are HTML already; ``numbers`` are the columns to align right."""
    names = "".join(
        f'<th scope="col"{" class=n" if index in numbers else ""}>{text(head)}</th>'
        for index, head in enumerate(heads)
    )
    lines = []
    for row in rows:
        cells = (f"<td{' class=n' if index in numbers else ''}>{cell}</td>" for index, cell in enumerate(row))
        lines.append(f"<tr>{''.join(cells)}</tr>")
    if not lines:
        return f"<p>{text(caption)}: nothing yet.</p>"
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(caption)}"><table><thead><tr>{names}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def cards(facts: Mapping[str, Any]) -> str:
    """Facts with their names."""
    return f'<ul class="cards">{"".join(f"<li>{text(name)}<b>{text(value)}</b></li>" for name, value in facts.items())}</ul>'


def form(action: str, token: str, fields: str, button: str) -> str:
    """A form that changes something; ``fields`` are HTML already."""
    return (
        f'<form class="row" method="post" action="{action}"><input type="hidden" name="token" value="{text(token)}">'
        f"{fields}<button>{text(button)}</button></form>"
    )


def field(name: str, label: str, value: Any = "", *, kind: str = "text", more: str = "") -> str:
    """A labelled input."""
    return f'<label>{text(label)}<br><input name="{name}" type="{kind}" value="{text(value)}"{more}></label>'


def choice(name: str, label: str, options: Iterable[str], chosen: str = "") -> str:
    """A labelled selection."""
    made = "".join(
        f'<option value="{text(one)}"{" selected" if one == chosen else ""}>{text(one) or "any"}</option>'
        for one in options
    )
    return f'<label>{text(label)}<br><select name="{name}">{made}</select></label>'
