"""Models as dictionaries, JSON, rows and notebook tables."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date
from decimal import Decimal

import msgspec
import pytest

import samples
from hl_async import models
from hl_async.errors import InvalidRequest
from hl_async.models import Contact, Discount, Estimate, EstimateDraft, Invoice, Item, ItemTax, to_rows
from hl_async.models.rows import columns_of
from hl_async.testing.builders import Builder


def test_a_draft_comes_back_from_json_as_it_was() -> None:
    draft = samples.estimate()
    assert EstimateDraft.from_json(draft.to_json()) == draft
    assert draft.to_dict()["items"][0]["amount"] == Decimal("9.99")
    assert '"amount":9.99' in draft.to_json()


def test_every_public_model_is_plain_data_with_a_short_repr() -> None:
    public = [getattr(models, name) for name in models.__all__]
    structs = [kind for kind in public if isinstance(kind, type) and issubclass(kind, msgspec.Struct)]
    assert len(structs) > 60
    lacking = [
        kind.__name__ for kind in structs if not hasattr(kind, "to_json") or not hasattr(kind, "_repr_html_")
    ]
    long = [kind.__name__ for kind in structs if not kind.__struct_config__.repr_omit_defaults]
    assert (lacking, long) == ([], [])
    discount = Discount(value=10)
    assert Discount.from_json(discount.to_json()).value == 10
    assert "UNSET" not in repr(discount)


@pytest.mark.parametrize("text", ["{", '{"name": 7}', "[]", '{"name":"K","currency":"USD"}'])
def test_text_that_is_not_the_model_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="EstimateDraft"):
        EstimateDraft.from_json(text)


def test_an_answer_shows_only_what_is_known() -> None:
    estimate = Estimate(id="e1", name="<Kitchen>")
    assert repr(estimate) == "Estimate(id='e1', name='<Kitchen>')"
    assert estimate.to_dict() == {"_id": "e1", "name": "<Kitchen>"}
    assert "&lt;Kitchen&gt;" in estimate._repr_html_()
    assert "currency" not in estimate._repr_html_()


def test_null_stays_in_a_request_where_it_means_something() -> None:
    draft = samples.estimate(terms_notes=None)
    assert draft.to_dict()["termsNotes"] is None
    assert EstimateDraft.from_json(draft.to_json()).terms_notes is None


def test_a_copy_with_other_values_is_checked_again() -> None:
    draft = samples.estimate()
    assert draft.replace(name="Bath").name == "Bath"
    assert draft.name != "Bath"
    with pytest.raises(InvalidRequest, match="nam: is not a field of EstimateDraft; did you mean name"):
        draft.replace(nam="Bath")
    with pytest.raises(InvalidRequest, match="currency"):
        draft.replace(currency="usd")


def test_documents_become_rows_of_the_same_columns() -> None:
    build = Builder()
    documents = [
        build.estimate_answer(),
        build.invoice_answer(),
        Invoice(id="i", contact_details=Contact(name="A")),
    ]
    rows = list(to_rows(documents))
    assert {tuple(row) for row in rows} == {tuple(rows[0])}
    assert [row["kind"] for row in rows] == ["estimate", "invoice", "invoice"]
    assert rows[0]["total"] == documents[0].total
    lines = list(to_rows(documents, per="line"))
    assert len(lines) == sum(row["lines"] or 0 for row in rows)
    assert rows[2]["lines"] is None, "an answer without lines does not say that there are none"
    assert tuple(rows[0]) == tuple(columns_of("document"))
    assert tuple(lines[0]) == tuple(columns_of("line"))
    for row in lines:
        for name, kind in columns_of("line").items():
            assert row[name] is None or isinstance(row[name], kind), name
    assert {tuple(row) for row in lines} == {tuple(lines[0])}
    with pytest.raises(InvalidRequest, match="document or line"):
        list(to_rows(documents, per="page"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("taxes", "rate"),
    [
        (None, None),
        ([], Decimal(0)),
        ([ItemTax(rate=Decimal(5)), ItemTax(rate=Decimal("2.5"))], Decimal("7.5")),
        ([ItemTax(rate=Decimal(5)), ItemTax()], None),
    ],
)
def test_the_tax_rate_of_a_line_is_unknown_when_one_of_its_rates_is(
    taxes: list[ItemTax] | None, rate: Decimal | None
) -> None:
    (row,) = to_rows([Estimate(id="e", items=[Item(taxes=taxes)])], per="line")
    assert row["line_tax_rate"] == rate


def test_pandas_and_polars_take_the_rows_as_they_are() -> None:
    import pandas as pd
    import polars as pl

    build = Builder()
    documents = [build.estimate_answer() for _ in range(5)]
    frame = pd.DataFrame(to_rows(documents, per="line"))
    assert isinstance(frame["line_amount"].sum(), Decimal)
    assert frame["issue_date"].map(lambda day: isinstance(day, date)).all()
    table = pl.DataFrame(list(to_rows(documents)), infer_schema_length=None)
    assert table.height == 5
    assert table["total"].dtype == pl.Decimal or table["total"].dtype.is_decimal()


FIRST_USE = """
import sys, threading
import samples
from hl_async.models import Estimate, EstimateDraft
from hl_async.models.codec import decoder, encode

sys.setswitchinterval(1e-6)
text, body = samples.estimate().to_json(), encode(samples.estimate())
barrier, failures = threading.Barrier(12), []

def read(number):
    barrier.wait()
    try:
        EstimateDraft.from_json(text) if number % 2 else decoder(EstimateDraft)(body)
    except Exception as error:
        failures.append(error)

threads = [threading.Thread(target=read, args=(number,)) for number in range(12)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert not failures, failures
"""


@pytest.mark.untraced
def test_a_model_may_be_read_by_many_threads_from_the_first_use_on() -> None:
    for _ in range(6):
        done = subprocess.run(
            [sys.executable, "-c", FIRST_USE], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        )
        assert done.returncode == 0, "the process died"
