"""How the source looks: sizes, complexity, comments, wording, circles of imports, arrows that run up.

``python -m benchmarks.house`` prints one table, ``--path`` measures another tree, ``--json`` prints every finding.
Nothing is imported from the tree that is measured, so any commit can be compared with any other.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import io
import json
import re
import statistics
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from functools import cache
from pathlib import Path

LONGEST_FUNCTION = 60
LONGEST_FILE = 450
MOST_COMPLEX = 15
LONGEST_FIRST_LINE = 79
PACKAGE = Path(__file__).parents[1] / "hl_async"
PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "llms.txt", "hl_async/SKILL.md", "docs/**/*.md")
"""The pages beside a package, as patterns. The changelog is a record and stays as it was written."""

LAYERS: tuple[tuple[str, ...], ...] = (
    ("__main__",),
    ("cli", "sync", "testing"),
    ("bulk.workers", "sandbox"),
    ("client", "bulk", "reports"),
    ("resources",),
    ("changes",),
    ("auth",),
    ("transport",),
    ("governor.shared",),
    ("governor", "operations", "telemetry", "webhooks", "pagination"),
    ("models", "config", "storage"),
    ("errors",),
    ("wire",),
    ("secret", "_version"),
)
"""Rooms from the top down. A room contains the modules below it, except those of a longer name in this list."""

FORMER: Mapping[str, str] = {
    "bulk.dispatch": "bulk.workers",
    "bulk.engines": "bulk",
    "bulk.engines.dbos": "bulk.workers",
    "governor.book": "governor.shared",
    "governor.booked": "governor.shared",
    "governor.exchange": "governor.shared",
    "governor.memory": "governor.shared",
    "governor.postgres": "governor.shared",
    "governor.untold": "governor.shared",
    "postgres": "storage",
    "refusals": "transport",
    "retry": "transport",
    "session": "transport",
    "worker": "bulk.workers",
}
"""Rooms of older trees, and the room that has their modules now."""

SIBLINGS = frozenset((("governor", "telemetry"),))
"""Rooms of one layer, and the neighbour that they may import."""

BANNED: Mapping[str, str] = {
    "what as a noun": (
        r"\bwhat (?!this\b|its\b|others\b)"
        r"(?:is|was|are|were|has|had|can|could|may|must|will|would|came|went|became|began|stood|\w{3,}(?:ed|es|s))\b"
    ),
    "whoever": r"\bwhoever\b",
    "somebody": r"\bsomebody\b",
    "nobody": r"\bnobody\b",
    "anew": r"\banew\b",
    "mend": r"\bmend(?:s|ed|ing)?\b",
    "told": r"\btold\b",
    "at hand": r"\bat hand\b",
    "to be had": r"\bto be had\b",
    "is no <noun>": r"\b(?:is|are|was|were) no (?!longer\b|more\b)\w+",
    "is none": r"\b(?:is|are|was|were) none\b",
}
"""Constructions that the house does not use, as regular expressions over lower-case text."""

_PATTERNS = {name: re.compile(pattern) for name, pattern in BANNED.items()}
_FENCED = re.compile(r"^ *```.*?^ *```$|<!--.*?-->|^\([\w-]+\)=$", re.MULTILINE | re.DOTALL)
_QUESTION = re.compile(r"[^.|\n#]*\?(?=\s|$)")
_LINK_TARGET = re.compile(r"\]\([^)\n]*\)")
_MARKUP = re.compile(r":\w+:`[^`]*`|``[^`]*``|`[^`]*`")
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*")
_DIRECTIVE = re.compile(r"#\s*(?:noqa|type:|fmt:|pragma|ruff:|mypy:|!|-{4,})")
_FEWEST_WORDS = 3
_DEF = (ast.FunctionDef, ast.AsyncFunctionDef)


class When(Enum):
    """When an import is executed."""

    AT_ONCE = "with the module"
    DEFERRED = "in a function"
    TYPING = "for type checkers only"


@dataclasses.dataclass(frozen=True)
class Function:
    """A function or method. ``lines`` excludes its decorators."""

    module: str
    name: str
    line: int
    lines: int
    complexity: int


@dataclasses.dataclass(frozen=True)
class Arrow:
    """One import between two modules of the tree."""

    source: str
    target: str
    when: When


@dataclasses.dataclass(frozen=True)
class Wording:
    """Words and banned constructions of one kind of text."""

    words: int
    found: dict[str, int]

    @property
    def rate(self) -> float:
        """Banned constructions per 10,000 words."""
        return 10_000 * sum(self.found.values()) / self.words if self.words else 0.0


@dataclasses.dataclass(frozen=True)
class House:
    """Everything that is measured of one tree."""

    files: int
    lines: int
    median_file: float
    root_files: list[str]
    long_files: dict[str, int]
    functions: int
    long_functions: list[Function]
    complex_functions: list[Function]
    comment_share: float
    docstring_share: float
    long_first_lines: list[str]
    wording: dict[str, Wording]
    circles: list[list[str]]
    deferred_circles: list[list[str]]
    typing_circles: list[list[str]]
    upward: list[Arrow]
    sideways: list[Arrow]
    class_names_twice: dict[str, list[str]]


# ------------------------------------------------------------------------------------------------ files


def modules(root: Path) -> dict[str, Path]:
    """Return the modules of the package ``root`` by their full names."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = [root.name, *path.relative_to(root).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def sizes(root: Path) -> dict[str, int]:
    """Return the lines of every module."""
    return {name: len(_text(path).splitlines()) for name, path in modules(root).items()}


def root_files(root: Path) -> list[str]:
    """Return the modules that lie in no room."""
    return sorted(path.name for path in root.glob("*.py"))


@cache
def _text(path: Path) -> str:
    return path.read_text("utf-8")


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(_text(path), str(path))


# -------------------------------------------------------------------------------------------- functions


def functions(root: Path) -> list[Function]:
    """Return all functions and methods, nested ones too."""
    return [one for name, path in modules(root).items() for one in _functions(name, _tree(path), "")]


def _blocks(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the statements, handlers and cases directly inside a module, a statement, a handler or a case."""
    for name in ("body", "handlers", "orelse", "finalbody", "cases"):
        yield from getattr(node, name, ())


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all statements, handlers and cases inside; expressions hold none and are many."""
    for child in _blocks(node):
        yield child
        yield from _statements(child)


def _functions(module: str, node: ast.AST, prefix: str) -> Iterator[Function]:
    for child in _blocks(node):
        name = prefix
        if isinstance(child, (*_DEF, ast.ClassDef)):
            name = f"{prefix}{child.name}."
        if isinstance(child, _DEF):
            lines = (child.end_lineno or child.lineno) - child.lineno + 1
            yield Function(module, name[:-1], child.lineno, lines, complexity(child))
        yield from _functions(module, child, name)


def complexity(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the paths through a function as ruff's C901 does; a nested function counts for the outer one."""
    return 1 + sum(_branches(node) for node in _statements(function))


def _branches(node: ast.AST) -> int:
    if isinstance(node, ast.If | ast.ExceptHandler | ast.FunctionDef | ast.AsyncFunctionDef):
        return 1
    if isinstance(node, ast.For | ast.AsyncFor | ast.While):
        return 1 + bool(node.orelse)
    if isinstance(node, ast.Try | ast.TryStar):
        return int(bool(node.orelse))
    if isinstance(node, ast.Match):
        return sum(not _matches_all(case) for case in node.cases)
    return 0


def _matches_all(case: ast.match_case) -> bool:
    return case.guard is None and isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None


# ------------------------------------------------------------------------------------------------ prose


def comment_share(root: Path) -> float:
    """Return the share of lines that hold a comment; directives of tools and rulers are not counted."""
    return sum(len(_comments(path)) for path in modules(root).values()) / sum(sizes(root).values())


def docstring_share(root: Path) -> float:
    """Return the share of lines that belong to docstrings, those of attributes included."""
    found = (node for path in modules(root).values() for node in _docstrings(_tree(path)))
    return sum((node.end_lineno or node.lineno) - node.lineno + 1 for node in found) / sum(
        sizes(root).values()
    )


def long_first_lines(root: Path) -> list[str]:
    """Return the places of docstrings whose first line is longer than the limit, or not a whole sentence."""
    found = []
    for name, path in modules(root).items():
        for node in (_tree(path), *_statements(_tree(path))):
            if isinstance(node, (*_DEF, ast.ClassDef, ast.Module)):
                first = (ast.get_docstring(node) or ".").split("\n")[0]
                if len(first) > LONGEST_FIRST_LINE or not first.endswith((".", "?", "::")):
                    found.append(f"{name}:{getattr(node, 'lineno', 1)}: {first}")
    return found


def wording(root: Path) -> dict[str, Wording]:
    """Count banned constructions in docstrings, comments, messages and the pages beside the package.

    A message is any other literal of three words or more in one line, without markup.
    """
    texts: dict[str, list[str]] = {"docstrings": [], "comments": [], "messages": []}
    for path in modules(root).values():
        docstrings = _docstrings(_tree(path))
        texts["docstrings"] += [str(node.value) for node in docstrings]
        texts["comments"] += [text for _, text in _comments(path)]
        texts["messages"] += _messages(_tree(path), {id(node) for node in docstrings})
    texts["docs"] = [prose(_text(path)) for path in pages(root.parent)]
    return {kind: judge(found) for kind, found in texts.items()}


def pages(folder: Path) -> list[Path]:
    """Return the pages of documentation in ``folder``."""
    return sorted({path for pattern in PAGES for path in folder.glob(pattern)})


def prose(page: str) -> str:
    """Return a Markdown page without code blocks, comments, anchors, targets of links and questions.

    In a question, such as a heading, "what is" is not a noun.
    """
    return _QUESTION.sub("", _LINK_TARGET.sub("]", _FENCED.sub("", page)))


def judge(texts: Iterable[str]) -> Wording:
    """Count words and banned constructions; code between backquotes is left out."""
    words = 0
    found = dict.fromkeys(BANNED, 0)
    for text in texts:
        plain = " ".join(_MARKUP.sub("X", text).lower().split())
        words += len(_WORD.findall(plain))
        for name, pattern in _PATTERNS.items():
            found[name] += len(pattern.findall(plain))
    return Wording(words, found)


def _docstrings(tree: ast.Module) -> list[ast.Constant]:
    return [
        node.value
        for node in _statements(tree)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]


@cache
def _comments(path: Path) -> list[tuple[int, str]]:
    tokens = tokenize.generate_tokens(io.StringIO(_text(path)).readline)
    return [
        (token.start[0], token.string[1:].strip())
        for token in tokens
        if token.type == tokenize.COMMENT and not _DIRECTIVE.match(token.string)
    ]


def _messages(tree: ast.Module, docstrings: set[int]) -> Iterator[str]:
    inside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inside.update(id(part) for part in node.values)
            parts = [str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values]
            text = "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) in docstrings or id(node) in inside:
                continue
            text = node.value
        else:
            continue
        if len(_WORD.findall(text)) >= _FEWEST_WORDS and " " in text and not re.search(r"[\n<]", text):
            yield text


# ----------------------------------------------------------------------------------------- dependencies


@cache
def arrows(root: Path) -> list[Arrow]:
    """Return the imports between modules of the tree; the package's own ``__init__`` is left out."""
    known = modules(root)
    found = {
        Arrow(name, target, when)
        for name, path in known.items()
        if name != root.name
        for target, when in _targets(name, path, known)
        if target not in (name, root.name)
    }
    return sorted(found, key=lambda one: (one.source, one.target, one.when.value))


def _targets(name: str, path: Path, known: Mapping[str, Path]) -> Iterator[tuple[str, When]]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node, when in _imports(_tree(path), When.AT_ONCE):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in known:
                    yield alias.name, when
            continue
        base = node.module or ""
        if node.level:
            parents = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*parents, *([base] if base else [])])
        for alias in node.names:
            longer = f"{base}.{alias.name}"
            if longer in known:
                yield longer, when
            elif base in known:
                yield base, when


def _imports(node: ast.AST, when: When) -> Iterator[tuple[ast.Import | ast.ImportFrom, When]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, when
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for one in child.body:
                yield from _imports(ast.Module([one], []), When.TYPING)
            for one in child.orelse:
                yield from _imports(ast.Module([one], []), when)
        elif isinstance(child, _DEF):
            yield from _imports(child, When.DEFERRED if when is When.AT_ONCE else when)
        else:
            yield from _imports(child, when)


def circles(root: Path, also: When | None = None) -> list[list[str]]:
    """Return the groups of modules that import each other when they are imported.

    With ``also``, return the groups that exist only because of imports of that kind.
    """
    plain = _components(root, {When.AT_ONCE})
    if also is None:
        return plain
    return [group for group in _components(root, {When.AT_ONCE, also}) if group not in plain]


def _components(root: Path, kinds: set[When]) -> list[list[str]]:
    """Return the strongly connected components of more than one module, sorted."""
    graph: dict[str, set[str]] = {name: set() for name in modules(root)}
    for arrow in arrows(root):
        if arrow.when in kinds:
            graph[arrow.source].add(arrow.target)
    back: dict[str, set[str]] = {name: set() for name in graph}
    for source, targets in graph.items():
        for target in targets:
            back[target].add(source)
    done: set[str] = set()
    order = [name for start in graph for name in _finished(graph, start, done)]
    done = set()
    groups = [sorted(_finished(back, start, done)) for start in reversed(order) if start not in done]
    return sorted(group for group in groups if len(group) > 1)


def _finished(graph: Mapping[str, set[str]], start: str, done: set[str]) -> list[str]:
    """Return the unvisited modules that ``start`` reaches, each after those that it reaches itself."""
    if start in done:
        return []
    done.add(start)
    found = []
    path = [(start, iter(sorted(graph[start])))]
    while path:
        name, rest = path[-1]
        follower = next((one for one in rest if one not in done), None)
        if follower is None:
            path.pop()
            found.append(name)
        else:
            done.add(follower)
            path.append((follower, iter(sorted(graph[follower]))))
    return found


def room_of(module: str) -> str:
    """Return the room of a module, by the longest name that fits; empty for the package itself."""
    inner = module.partition(".")[2]
    while inner:
        if inner in FORMER:
            return FORMER[inner]
        if any(inner in layer for layer in LAYERS):
            return inner
        inner = inner.rpartition(".")[0]
    return ""


def unplaced(root: Path) -> list[str]:
    """Return the modules whose room is in no layer."""
    return [name for name in modules(root) if name != root.name and not room_of(name)]


def upward(root: Path) -> list[Arrow]:
    """Return the imports from a layer into a higher one, those inside functions too."""
    return [one for one in _run_time(root) if _height(one.target) > _height(one.source)]


def sideways(root: Path) -> list[Arrow]:
    """Return the imports between two rooms of one layer."""
    return [
        one
        for one in _run_time(root)
        if _height(one.target) == _height(one.source)
        and room_of(one.target) != room_of(one.source)
        and (room_of(one.source), room_of(one.target)) not in SIBLINGS
    ]


def _run_time(root: Path) -> Iterator[Arrow]:
    lost = set(unplaced(root))
    return (
        one for one in arrows(root) if one.when is not When.TYPING and not lost & {one.source, one.target}
    )


def _height(module: str) -> int:
    room = room_of(module)
    return len(LAYERS) - next(number for number, layer in enumerate(LAYERS) if room in layer)


# ---------------------------------------------------------------------------------------------- classes


def class_names_twice(root: Path) -> dict[str, list[str]]:
    """Return the public names that classes of more than one module have, with the modules."""
    places: dict[str, list[str]] = defaultdict(list)
    for module, path in modules(root).items():
        for node in _tree(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(module)
    return {name: found for name, found in sorted(places.items()) if len(found) > 1}


# ------------------------------------------------------------------------------------------------ table


def measure(root: Path) -> House:
    """Measure the package in the folder ``root``."""
    lines = sizes(root)
    found = functions(root)
    return House(
        files=len(lines),
        lines=sum(lines.values()),
        median_file=statistics.median(lines.values()),
        root_files=root_files(root),
        long_files={name: size for name, size in lines.items() if size > LONGEST_FILE},
        functions=len(found),
        long_functions=[one for one in found if one.lines > LONGEST_FUNCTION],
        complex_functions=[one for one in found if one.complexity > MOST_COMPLEX],
        comment_share=comment_share(root),
        docstring_share=docstring_share(root),
        long_first_lines=long_first_lines(root),
        wording=wording(root),
        circles=circles(root),
        deferred_circles=circles(root, When.DEFERRED),
        typing_circles=circles(root, When.TYPING),
        upward=upward(root),
        sideways=sideways(root),
        class_names_twice=class_names_twice(root),
    )


def report(house: House) -> str:
    """Return the measurements as text, with every finding below its number."""
    text = [
        f"files {house.files}, lines {house.lines:,}, median file {house.median_file:g} lines",
        f"files in the root {len(house.root_files)}: {', '.join(house.root_files)}",
        f"files over {LONGEST_FILE} lines {len(house.long_files)}",
        *(f"  {name} {size}" for name, size in house.long_files.items()),
        f"functions {house.functions}, over {LONGEST_FUNCTION} lines {len(house.long_functions)}",
        *(f"  {one.module}:{one.line} {one.name} {one.lines}" for one in house.long_functions),
        f"functions of a complexity over {MOST_COMPLEX} {len(house.complex_functions)}",
        *(f"  {one.module}:{one.line} {one.name} {one.complexity}" for one in house.complex_functions),
        f"comments {100 * house.comment_share:.2f} % of lines",
        f"docstrings {100 * house.docstring_share:.2f} % of lines",
        f"first lines over {LONGEST_FIRST_LINE} characters {len(house.long_first_lines)}",
        "banned constructions per 10,000 words",
        *(f"  {kind} {_rates(one)}" for kind, one in house.wording.items()),
        *_groups("circles of imports", house.circles),
        *_groups("circles through imports inside functions", house.deferred_circles),
        *_groups("circles through imports for type checkers", house.typing_circles),
        f"imports that run up {len(house.upward)}",
        *(f"  {one.source} -> {one.target} ({one.when.value})" for one in house.upward),
        f"imports between rooms of one layer {len(house.sideways)}",
        *(f"  {one.source} -> {one.target} ({one.when.value})" for one in house.sideways),
        f"class names used twice {len(house.class_names_twice)}",
        *(f"  {name}: {', '.join(found)}" for name, found in house.class_names_twice.items()),
    ]
    return "\n".join(text)


def _rates(found: Wording) -> str:
    counts = ", ".join(f"{name} {count}" for name, count in found.found.items() if count)
    return f"{found.rate:.1f} of {found.words:,} words ({counts or 'none'})"


def _groups(title: str, groups: list[list[str]]) -> list[str]:
    return [f"{title} {len(groups)}", *(f"  {', '.join(group)}" for group in groups)]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", type=Path, default=PACKAGE, help="the package's folder")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    root: Path = options.path.resolve()
    house = measure(root)
    if options.json:
        plain = dataclasses.asdict(house)
        for kind, found in house.wording.items():
            plain["wording"][kind]["rate"] = found.rate
        print(json.dumps(plain, indent=2, default=lambda one: one.value))
    else:
        print(report(house))
        for name in unplaced(root):
            print(f"in no layer: {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
