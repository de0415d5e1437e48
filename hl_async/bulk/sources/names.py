"""Internal. Names and titles of documents, which the API takes up to a length."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from hl_async.bulk.sources.document import Kind
from hl_async.errors import InvalidRequest
from hl_async.models import EstimateDraft
from hl_async.models.preparation import LONGEST_NAME

_RULES: Final = {"name": "name_at_most_40", "title": "title_at_most_40"}
# measured for estimates only: docs/api-facts.md#api-names-40
_MEASURED: Final = "estimate"


class Naming:
    """The fitting of one document's names; `notes` gets a line for each that is cut."""

    __slots__ = ("_cut", "_kind", "_rules", "notes")

    def __init__(self, kind: Kind, rules: Collection[str], *, cut: bool, notes: list[str]) -> None:
        self._kind = kind
        self._rules = rules
        self._cut = cut
        self.notes: list[str] = notes

    def fit(self, field: str, text: str, *, composed: bool = False) -> str:
        """Return the text as it can be sent, without line breaks and repeated spaces.

        Args:
            field: ``name`` or ``title``.
            text: The text of the source.
            composed: The text is not the source's own, so it may be cut without asking.

        Raises:
            InvalidRequest: It is too long, and may not be cut.
        """
        if "  " in text or not text.isprintable() or text.strip() != text:
            text = " ".join(text.split())
        if len(text) <= LONGEST_NAME:
            return text
        is_measured = self._kind == _MEASURED
        if is_measured and _RULES[field] not in self._rules:
            return text
        if self._cut or (composed and is_measured):
            self.notes.append(f"{field} is cut to {LONGEST_NAME} characters")
            return text[: LONGEST_NAME - 1].rstrip() + "…"
        if not is_measured:
            return text
        # the text comes last: a terminal shows the first hundred characters of a reason
        raise InvalidRequest(
            field,
            f"has {len(text)} characters, the API takes {LONGEST_NAME} (rule {_RULES[field]}); shorten it, or "
            f"--cut-names or cut_names = true in the mapping's [document] cuts it: {text!r}",
        )


def with_fitting_names(
    draft: EstimateDraft, rules: Collection[str], *, cut: bool, notes: list[str]
) -> EstimateDraft:
    """Return a draft whose name and title can be sent.

    Raises:
        InvalidRequest: One of them is too long, and may not be cut.
    """
    naming = Naming(_MEASURED, rules, cut=cut, notes=notes)
    if len(draft.name) > LONGEST_NAME:
        draft = draft.replace(name=naming.fit("name", draft.name))
    if draft.title and len(draft.title) > LONGEST_NAME:
        draft = draft.replace(title=naming.fit("title", draft.title))
    return draft
