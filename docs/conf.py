"""The documentation site: ``make docs`` builds it into ``build/docs``, with warnings as errors."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
from docutils import nodes
from sphinx.ext.napoleon.docstring import GoogleDocstring
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.nodes import make_refnode

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

import operation_examples

import hl_async.models
import hl_async.webhooks
from hl_async import __version__

FIELDS = tomllib.loads(Path(__file__).with_name("fields.toml").read_text("utf-8"))
"""A sentence for each field of the public models."""

project = "hl-async"
author = "the hl-async contributors"
version = release = __version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_click",
]
html_theme = "furo"
html_title = f"hl-async {release}"
html_copy_source = True  # links to the source of each page need no address of the project
html_show_sourcelink = True
html_show_sphinx = False
html_show_copyright = False  # the license stands in the repository; a line without a year said nothing
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b6e4f", "color-brand-content": "#0b6e4f"},
    "dark_css_variables": {"color-brand-primary": "#5fd3a5", "color-brand-content": "#5fd3a5"},
}
myst_heading_anchors = 3
smartquotes_action = (
    "qe"  # quotes and dots only: a dash in place of two hyphens would spoil options such as --map
)
suppress_warnings = [
    "ref.python",  # "type" in a signature is the builtin, not one of the fields of that name
    "misc.highlighting_failure",  # the SQL of DuckDB has more than the lexer knows
]
nitpicky = True  # a name that a docstring refers to exists; those of other packages are not looked up
nitpick_ignore_regex = [
    (
        "py:.*",
        r"(aiohttp|asyncio|collections|contextlib|datetime|decimal|enum|logging|msgspec|os|pathlib|ssl|ssl_module|typing)\b.*",
    ),
    (
        "py:.*",
        r"(Contact|Payment)Policy|Path|SandboxState|Source|KeyCarrier|TokenRepository|SqliteJournal\.create|LaneRunner|LOST_AFTER",
    ),  # the inside of a run
    ("py:class", r"date"),  # the type of an attribute in a docstring
    ("py:.*", r"hl_async\..*\.(_?[A-Z]|[TRE])\w*"),  # types in signatures that have no page of their own
]
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
maximum_signature_line_length = 90
python_use_unqualified_type_names = True
toc_object_entries = True
toc_object_entries_show_parents = "hide"
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # an attribute directive would describe a field that autodoc lists a second time
viewcode_line_numbers = True
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True


# Napoleon reads "Text: more text" below an attribute as a type and its meaning; here it is a sentence.
GoogleDocstring._parse_attribute_docstring = GoogleDocstring._consume_to_end  # noqa: SLF001


def _plain(text: str) -> str:
    return text.replace("UnsetType", "UNSET").replace("NoneType", "None")


def show_fields_once(
    app: Any, what: str, name: str, value: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None] | None:
    """A struct's fields stand below it one by one: its signature would only repeat them."""
    if what == "class" and hasattr(value, "__struct_fields__"):
        return "(…)", None
    # Resources are attributes of a client or a location, so no caller needs their arguments.
    if what == "class" and {"_at", "_principal", "_by_name"} & set(getattr(value, "__slots__", ())):
        return "", None
    if signature is None:
        return None
    return _plain(signature), None if returns is None else _plain(returns)


def drop_marks(app: Any) -> None:
    """The checks that annotations of models carry (``Annotated``) are for machines: fields are shown without.

    A field that a class declares again for type checkers only stays with the class that has it.
    """
    for name in (found.name for found in pkgutil.iter_modules(hl_async.models.__path__)):
        module = importlib.import_module(f"hl_async.models.{name}")
        source = ModuleAnalyzer.for_module(module.__name__)
        source.analyze()
        for kind in vars(module).values():
            if (
                isinstance(kind, type)
                and issubclass(kind, msgspec.Struct)
                and kind.__module__ == module.__name__
            ):
                plain = get_type_hints(kind)
                kind.__annotations__ = {field: plain[field] for field in kind.__annotations__}
                declared = {field for owner, field in source.annotations if owner == kind.__qualname__}
                for field in declared - kind.__annotations__.keys():
                    del source.annotations[kind.__qualname__, field]


def place_the_rest(app: Any, page: str, source: list[str]) -> None:
    """Every top-level page that the index names nowhere else is a how-to: a new one needs no entry."""
    if page == "index":
        rest = [path.stem for path in sorted(Path(__file__).parent.glob("*.md"))]
        rest = [
            name for name in rest if name != "index" and not re.search(rf"^{name}$", source[0], re.MULTILINE)
        ]
        source[0] = source[0].replace("<the-rest>", "\n".join(rest))


def find_short_names(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """Docstrings name a class of another module without the module: find the only one of that name."""
    if node.get("refdomain") != "py":
        return None
    python = env.domains["py"]
    found = [name for name in python.objects if name.endswith(f".{node['reftarget'].lstrip('.')}")]
    classes = [
        name for name in found if python.objects[name].objtype in ("class", "exception", "method", "function")
    ]
    if not classes:
        return None
    target = min(classes, key=len)
    return make_refnode(app.builder, node["refdoc"], python.objects[target].docname, target, contnode, target)


_BASES = "Answer, Part, Plain, Request, Struct"
"""Where the fields of a model end: what these have is the same for all."""


def list_models(app: Any, page: str, source: list[str]) -> None:
    """Expand ``<models: room>`` to the public structs of one room, under the name that people import."""
    if not page.startswith("reference/models"):
        return

    def entries(match: re.Match[str]) -> str:
        room = f"hl_async.models.{match[1]}"
        # Events are imported from where deliveries are verified, and share one envelope that is shown once.
        are_events = match[1] == "webhooks"
        home = hl_async.webhooks if are_events else hl_async.models
        inherited = ":show-inheritance:" if are_events else f":inherited-members: {_BASES}"
        found = ["```{eval-rst}", f".. currentmodule:: {home.__name__}", ""]
        for name in home.__all__:
            if getattr(getattr(home, name), "__module__", "") == room:
                if isinstance(getattr(home, name), type):
                    found += [
                        f".. autoclass:: {name}",
                        "   :members:",
                        "   :undoc-members:",
                        f"   {inherited}",
                        "",
                    ]
                else:
                    found += [f".. autofunction:: {name}", ""]
        return "\n".join([*found, "```"])

    source[0] = re.sub(r"^<models: (\w+)>$", entries, source[0], flags=re.MULTILINE)


def show_operation(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Below the docstring of an operation: route, scope, an example, and the sandbox's answer to it."""
    row = operation_examples.row_of(name) if what == "method" else None
    if row is not None:
        lines += operation_examples.lines_of(row, _examples().get(row.at))


def link_pages(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Turn pages that docstrings name by their path, such as ``docs/money.md#section``, into links."""
    root = "../" * app.env.docname.count("/")
    text = re.sub(
        r"(?<![\w`/])docs/([\w/-]+)\.md(#[\w-]+)?",
        lambda found: f"`{found[1]} <{root}{found[1]}.html{found[2] or ''}>`__",
        "\n".join(lines),
    )
    lines[:] = text.split("\n")


def say_fields(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Give each field of a public model its sentence, unless its docstring says something already."""
    found = re.fullmatch(r"hl_async\.(?:models|webhooks)\.((\w+)\.(\w+))", name)
    if what != "attribute" or found is None or any(map(str.strip, lines)):
        return
    text = FIELDS.get(found[1]) or FIELDS.get(found[3], "")
    lines[:] = [re.sub(r"`([^`]+)`", r"``\1``", text), ""]


def keep_blocks(app: Any, command: Any, lines: list[str]) -> None:
    """Show the preformatted blocks of a help text as such, and their commands with a prompt, which is not copied."""
    shown: list[str] = []
    inside = False
    for line in lines:
        text = line.removeprefix("| ") if line.startswith("| ") else None
        if text is None:
            shown += ["", line] if inside else [line]
        else:
            shown += [] if inside else ["", ".. code-block:: console", ""]
            shown.append(f"   $ {text}" if text.startswith("hl-async") else f"   {text}")
        inside = text is not None
    lines[:] = shown


def set_dashes(app: Any, doctree: nodes.document) -> None:
    """Set the dash between an argument and its description, which Sphinx writes as two hyphens."""
    for text in list(doctree.findall(nodes.Text)):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(" \N{EN DASH} "))


@cache
def _examples() -> dict[str, operation_examples.Example]:
    return operation_examples.examples()


def setup(app: Any) -> None:
    # After napoleon, which would take the lines below for sections of the docstring
    app.connect("autodoc-process-docstring", show_operation, priority=900)
    app.connect("autodoc-process-docstring", say_fields, priority=900)
    app.connect("autodoc-process-docstring", link_pages, priority=950)
    app.connect("autodoc-process-signature", show_fields_once)
    app.connect("builder-inited", drop_marks)
    app.connect("sphinx-click-process-description", keep_blocks)
    app.connect("doctree-read", set_dashes)
    app.connect("missing-reference", find_short_names)
    app.connect("source-read", place_the_rest)
    app.connect("source-read", list_models)
