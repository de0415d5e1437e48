"""Internal. The console's templates, which are files beside this module.

The template engine escapes every value, and one style sheet serves all pages.
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

# read at import, because reading files later would block the event loop
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
    """Return whether jinja2 is installed. The sandbox works without it."""
    try:
        _environment()
    except ImportError:
        return False
    return True


def render(template: str, **context: Any) -> str:
    """Return the text of a template; values are escaped unless they are markup."""
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
    """Return a whole page as HTML.

    Args:
        template: The name of the template's file.
        title: The heading, and the title of the window.
        token: The secret that the page's forms carry.
        here: The entry of the navigation to mark as the current one.
        said: The sentence that an action returned; "Not done" at its beginning marks a problem.
        refresh: Seconds after which the page reloads itself; 0 for never.
        **context: The template's own values.
    """
    failed = said.startswith("Not done")
    return render(
        template, title=title, token=token, here=here, said=said, failed=failed, refresh=refresh, **context
    )


@cache
def content_policy() -> str:
    """Return the policy that allows only the console's style sheet and forms."""
    # By the hash of the sheet: under 'unsafe-inline', a value that escaping missed could restyle the page.
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
        # A misspelt name must fail a test instead of leaving a gap on a page.
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(prefix=PREFIX, places=_PLACES, css=_FILES["style.css"])
    return made
