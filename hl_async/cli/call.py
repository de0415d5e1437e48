"""Internal. ``hl-async call``: the operations table on the command line."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from hl_async.cli.app import put_json, run_async, say, tell
from hl_async.cli.exits import ExitCode
from hl_async.cli.tables import print_document, print_documents
from hl_async.errors import InvalidRequest
from hl_async.models.codec import encode, json_object, json_page
from hl_async.operations import OPERATIONS, Operation, operation_named

if TYPE_CHECKING:
    _Text = click.ParamType[str]
else:
    _Text = click.ParamType  # a generic only in later releases of click


class _OperationName(_Text):
    name = "operation"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return operation_named(str(value)).name
        except InvalidRequest as error:
            problem = error.problem
        return self.fail(problem, param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        # operationIds only once one was begun: nothing typed shows each operation once
        spellings = [row.at for row in OPERATIONS.values()] + (list(OPERATIONS) if incomplete else [])
        return [CompletionItem(name) for name in spellings if name.startswith(incomplete)]


@click.command()
@click.argument("operation", type=_OperationName(), required=False)
@click.argument("ids", nargs=-1)
@click.option(
    "--list", "show", is_flag=True, help="List all operations, or say what OPERATION takes, and stop."
)
@click.option(
    "-q", "--query", "queries", multiple=True, metavar="NAME=VALUE", help="A filter, e.g. status=sent."
)
@click.option("--body", metavar="JSON|@FILE|-", help="The request body, without altId; - reads stdin.")
@click.option("--all", "every", is_flag=True, help="For lists: every page, one JSON document per line.")
@click.option("--location", metavar="ID", help="The location; default HL_LOCATION_ID.")
@click.option("--base-url", metavar="URL", help="The server; default HL_BASE_URL, else the real API.")
@click.option(
    "--json/--pretty", "compact", default=None, help="One line, or indented (default on a terminal)."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "pretty", "table"]),
    help="The same, or a table for people.",
)
def call(
    operation: str | None,
    ids: tuple[str, ...],
    show: bool,
    queries: tuple[str, ...],
    body: str | None,
    every: bool,
    location: str | None,
    base_url: str | None,
    compact: bool | None,
    form: str | None,
) -> int:
    """Call OPERATION (estimates.list, or list-estimates) with the IDS of its path.

    \b
    hl-async call --list                                        # all operations
    hl-async call --list estimates.update                       # what one takes
    hl-async call estimates.generate_number
    hl-async call estimates.list -q status=sent --all           # one per line
    hl-async call estimates.list --format table                 # for reading
    hl-async call estimates.update 64f0… --body @estimate.json
    jq .body one.json | hl-async call estimates.create --body -
    """
    if form in ("json", "pretty"):
        compact = form == "json"
    if operation is None:
        _show_operations(bool(compact))
        return ExitCode.OK
    row = OPERATIONS[operation]
    if show:
        _show_operation(row, bool(compact))
        return ExitCode.OK
    _check_arguments(row, ids, body)
    indent = sys.stdout.isatty() if compact is None else not compact
    query = dict(_pair(text) for text in queries)
    content = None if body is None else _body(body)
    table: list[dict[str, Any]] | None = [] if form == "table" else None

    def write(answer: bytes) -> None:
        if table is None or not answer:
            _write(answer, indent)
        else:
            table.extend([json_object(answer)] if row.items is None else json_page(answer, row.items))

    result = run_async(lambda: _call(row, ids, query, content, every, location, base_url, write, table))
    if table and row.items is None:
        print_document(table[0])
    elif table is not None and row.items is not None:
        print_documents(table)
    return int(result)


async def _call(
    row: Operation[Any],
    ids: tuple[str, ...],
    query: dict[str, str],
    body: bytes | None,
    every: bool,
    location: str | None,
    base_url: str | None,
    write: Callable[[bytes], None],
    table: list[dict[str, Any]] | None,
) -> ExitCode:
    from hl_async.client import HighLevel

    paged = row.items is not None and "offset" in row.query
    if every and not paged:
        raise InvalidRequest("--all", f"{row.at} does not page by offset; call it page by page with --query")
    _check_query(row, query)
    if paged:
        # Both are required as text: docs/api-facts.md#api-pagination.
        query = {"limit": "100", "offset": "0", **query}
    async with HighLevel.from_env(base_url=base_url) if base_url else HighLevel.from_env() as hl:
        place = hl.location(location)
        if not every:
            answer = await place.raw(row, *ids, body=body, query=query)
            write(answer.body)
            return ExitCode.OK
        offset, limit = int(query["offset"]), int(query["limit"])
        seen: set[str] = set()
        while True:
            answer = await place.raw(row, *ids, query={**query, "offset": offset, "limit": limit})
            entries = json_page(answer.body, row.items)
            # Documents that are created meanwhile push others onto the next page a second time.
            fresh = [entry for entry in entries if str(entry.get("_id")) not in seen]
            for entry in fresh:
                seen.add(str(entry.get("_id")))
                if table is None:
                    click.echo(encode(entry))
            if table is not None:
                table += fresh
            offset += len(entries)
            # A server that ignores the offset repeats its first page, and then nothing on it is new.
            if not fresh or len(entries) < limit:
                return ExitCode.OK


def _check_query(row: Operation[Any], query: dict[str, str]) -> None:
    unknown = [name for name in query if name not in row.query]
    if unknown and row.query:
        raise InvalidRequest(
            "--query", f"{row.at} has no filter {unknown[0]!r}; it has {', '.join(row.query)}"
        )
    for name in ("limit", "offset"):
        if name in query and not query[name].isdecimal():
            raise InvalidRequest(f"--query {name}", f"{query[name]!r} is not a whole number")


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise InvalidRequest("--query", f"{text!r} is not NAME=VALUE")
    return name, value


def _body(text: str) -> bytes:
    if text == "-":
        content = sys.stdin.buffer.read()
    elif text.startswith("@"):
        content = Path(text[1:]).read_bytes()
    else:
        content = text.encode()
    try:
        document = msgspec.json.decode(content)
    except msgspec.DecodeError as error:
        problem = str(error)
    else:
        if isinstance(document, dict):
            # The bytes are sent as given: decoding and encoding would change numbers.
            return content.strip()
        problem = "must be a JSON object"
    raise InvalidRequest("--body", f"is not a JSON object: {problem}")


def _write(body: bytes, indent: bool) -> None:
    if not body:
        say("(no body)")
        return
    try:
        click.echo(msgspec.json.format(body, indent=2 if indent else -1))
    except msgspec.DecodeError:
        # Some answers are not JSON, such as the page of a gateway.
        click.echo(body)


def _check_arguments(row: Operation[Any], ids: tuple[str, ...], body: str | None) -> None:
    if len(ids) != len(row.params):
        wanted = " ".join(f"<{name}>" for name in row.params) or "no id"
        raise InvalidRequest("IDS", f"{row.at} takes {wanted}, got {' '.join(ids) or 'none'}")
    needed = _needed(row)
    # Refused here, because the API answers such a request with a list of all fields it misses.
    if body is None and needed:
        raise InvalidRequest(
            "--body", f"{row.at} needs one with {', '.join(needed)}; give --body @FILE, JSON, or - for stdin"
        )


def _fields(row: Operation[Any], needed: bool) -> list[str]:
    """Return the names of a body's needed or optional fields, as the wire has them."""
    # The client adds altId and altType.
    if row.body is None or not isinstance(row.body, type) or not issubclass(row.body, msgspec.Struct):
        return []
    return [field.encode_name for field in msgspec.structs.fields(row.body) if field.required is needed]


def _needed(row: Operation[Any]) -> list[str]:
    return _fields(row, needed=True)


def _facts(row: Operation[Any]) -> dict[str, Any]:
    return {
        "operation": row.at,
        "name": row.name,
        "method": row.method,
        "path": row.path,
        "ids": list(row.params),
        "filters": list(row.query),
        "needs": _needed(row),
        "takes": _fields(row, needed=False),
        "scope": row.scope,
    }


def _show_operation(row: Operation[Any], as_json: bool) -> None:
    facts = _facts(row)
    if as_json:
        put_json(facts)
        return
    facts["operation"] = " ".join([row.at, *(f"<{name}>" for name in row.params)])
    facts["path"] = f"{facts.pop('method')} {row.path}"
    del facts["ids"]
    for name, value in facts.items():
        text = ", ".join(value) if isinstance(value, list) else value
        if text:
            tell(f"{name:<10}  {text}")


def _show_operations(as_json: bool) -> None:
    if as_json:
        for row in OPERATIONS.values():
            put_json(_facts(row))
        return
    columns = [
        (" ".join([row.at, *(f"<{name}>" for name in row.params)]), row.name, f"{row.method:<6} {row.path}")
        for row in OPERATIONS.values()
    ]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else 1000
    widths = [max(len(line[index]) for line in columns) for index in range(3)]
    # a broken line is harder to read than a missing column, so the last columns go first
    while len(widths) > 1 and sum(widths) + 2 * (len(widths) - 1) > room:
        widths.pop()
    for line in columns:
        click.echo("  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=False)).rstrip())
