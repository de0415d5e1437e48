"""Internal. The console's templates, which stand beside this module.

They are escaped by themselves and styled by one sheet.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import jinja2

PREFIX: Final = "/_console"
NOT_INSTALLED: Final = "The console needs a package: pip install 'hl-async[sandbox]'"

# read with the module: the pages are made inside an event loop
_FILES: Final = {
    path.name: path.read_text("utf-8") for path in Path(__file__).with_name("templates").iterdir()
}
_PLACES: Final = (
    ("", "Overview"),
    ("requests", "Requests"),
    ("faults", "Faults"),
    ("webhooks", "Webhooks"),
    ("outbox", "Outbox"),
)


def is_installed() -> bool:
    """Return whether pages can be made.

    The template engine is an extra; the sandbox works without it.
    """
    try:
        _environment()
    except ImportError:
        return False
    return True


def render(template: str, **context: Any) -> str:
    """Return a template as text. Every value is escaped unless it is markup already."""
    return _environment().get_template(template).render(context)


def page(
    template: str,
    title: str,
    *,
    token: str = "",
    here: str | None = None,
    said: str = "",
    refresh: int = 0,
    **context: Any,
) -> str:
    """Return a whole page.

    Args:
        template: The file's name.
        title: The heading, and the title of the window.
        token: The secret that the page's forms carry.
        here: The entry of the navigation that this page is.
        said: The outcome of a form; one that begins with "Not done" is a problem.
        refresh: Reload the page every so many seconds; 0 never does.
        **context: The template's own values.
    """
    failed = said.startswith("Not done")
    return render(
        template, title=title, token=token, here=here, said=said, failed=failed, refresh=refresh, **context
    )


@cache
def content_policy() -> str:
    """Return the header that allows only this style sheet and our own forms."""
    # By its hash: with 'unsafe-inline' a value that slipped through the escaping could style the page.
    digest = base64.b64encode(hashlib.sha256(_FILES["style.css"].encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.DictLoader(_FILES),
        autoescape=True,
        # A misspelt value must fail a test instead of leaving a gap on a page.
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(prefix=PREFIX, places=_PLACES, css=_FILES["style.css"])
    return made
