"""History as a stream: every reading of some tags in a window, however many, as CSV or NDJSON, in bounded memory.

A server-side cursor in one snapshot gives some thousand readings at a time, tag by tag, each tag in order of time. Each
fetch is a statement of its own, so the web's statement timeout holds for each and not for the whole; a client that is
slow makes the database wait, but one that takes nothing for a minute is left. Whatever fails in between breaks the
connection off, so that no client takes a part for the whole.

Before it: `lms_cloud.telemetry.api`, which has checked who asks for what; after it: the client's file.
"""

import asyncio
import json
import math
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from itertools import chain
from operator import itemgetter
from typing import Any, Final, Literal
from uuid import UUID

import numpy as np
from lms_protocol.reading import Value
from psycopg import AsyncServerCursor
from starlette.responses import StreamingResponse
from starlette.types import Message, Send

from lms_cloud.accounts.identity import Identity
from lms_cloud.kernel.database import Database
from lms_cloud.kernel.errors import TooManyRequests
from lms_cloud.telemetry.announcing import shown
from lms_cloud.telemetry.history import rows
from lms_cloud.telemetry.history.rows import Connection
from lms_cloud.telemetry.history.series import Window
from lms_cloud.telemetry.history.service import HistoryService
from lms_cloud.telemetry.values import TagInfo, read_value

Format = Literal["csv", "ndjson"]
MEDIA_TYPES: Final = {"csv": "text/csv; charset=utf-8; header=present", "ndjson": "application/x-ndjson"}
CSV_HEADER: Final = b"taken_at,tag,unit,quality,value\r\n"
READINGS_AT_ONCE: Final = 5_000
STALLED_S: Final = 60.0
RETRY_AFTER_S: Final = 15

_SPECIAL: Final = {math.inf: "Infinity", -math.inf: "-Infinity"}

Row = tuple[int, int, float | None, str | None]
_TIME: Final = itemgetter(0)


class HistoryStreams:
    """Streamed answers of one process: each holds a database connection for as long as it lasts, so they are few.

    Args:
        database: where the readings are.
        most: how many may run at once.
    """

    def __init__(self, database: Database, most: int) -> None:
        self._database = database
        self._free = most

    def now(self) -> datetime:
        """The present instant, aware UTC."""
        return self._database.clock.now()

    async def answer(
        self,
        identity: Identity,
        bioreactor_id: UUID,
        *,
        tags: Sequence[str] | None,
        window: tuple[datetime, datetime],
        kind: Format,
    ) -> "StreamOfHistory":
        """The answer to a request; its first part has been read when this returns.

        Args:
            identity: who asks.
            bioreactor_id: whose readings.
            tags: names; all if None.
            window: beginning, included, and end, not included.
            kind: how to write them.

        Raises:
            NotFound, Invalid: as `HistoryService.read`.
            TooManyRequests: too many streams are running.
        """
        chunks = self._chunks(identity, bioreactor_id, tags, window, kind)
        first = await anext(chunks)
        begin, end = (f"{instant.astimezone(UTC):%Y%m%dT%H%M%SZ}" for instant in window)
        return StreamOfHistory(
            _Begun(first, chunks),
            media_type=MEDIA_TYPES[kind],
            headers={"Content-Disposition": f'attachment; filename="history-{begin}-{end}.{kind}"'},
        )

    async def _chunks(
        self,
        identity: Identity,
        bioreactor_id: UUID,
        tags: Sequence[str] | None,
        window: tuple[datetime, datetime],
        kind: Format,
    ) -> AsyncGenerator[bytes, None]:
        if self._free <= 0:
            raise TooManyRequests("streams of history at once", RETRY_AFTER_S)
        self._free -= 1
        try:
            async with self._database.unit_of_work(identity.organization_id, identity.user_id, snapshot=True) as uow:
                start, end = window
                service = HistoryService(uow)
                chosen, asked = await service.every_reading(bioreactor_id, start=start, end=end, tags=tags)
                connection = await uow.driver_connection()
                numbers = [tag.series for tag in chosen if tag.series is not None]
                texts = await rows.with_texts(connection, numbers, asked.start, asked.end)
                yield CSV_HEADER if kind == "csv" else b""
                for tag in chosen:
                    if tag.series is not None:
                        async with aclosing(
                            read_every_one(connection, tag.series, asked, both=tag.series in texts)
                        ) as parts:
                            async for read in parts:
                                yield "".join(_csv(tag, read) if kind == "csv" else _ndjson(tag, read)).encode()
        finally:
            self._free += 1


class _Begun:
    """Chunks of which the first has been read already: what is refused is refused before the answer begins."""

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes, None]) -> None:
        self._first: bytes | None = first
        self._rest = rest

    def __aiter__(self) -> "_Begun":
        return self

    async def __anext__(self) -> bytes:
        first, self._first = self._first, None
        return await anext(self._rest) if first is None else first

    async def aclose(self) -> None:
        await self._rest.aclose()


class StreamOfHistory(StreamingResponse):
    """A streamed answer that ends its reading of the database at once, however the client leaves."""

    def __init__(self, chunks: _Begun, *, media_type: str, headers: Mapping[str, str]) -> None:
        super().__init__(chunks, media_type=media_type, headers=headers)
        self._chunks = chunks

    async def stream_response(self, send: Send) -> None:
        """Send all chunks.

        Raises:
            TimeoutError: the client has taken nothing for a minute.
        """

        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(STALLED_S):
                await send(message)

        async with aclosing(self._chunks):
            await super().stream_response(send_in_time)


async def read_every_one(
    connection: Connection, series: int, window: Window, *, both: bool
) -> AsyncGenerator[Sequence[Row], None]:
    """All readings of a series in a window, some thousand at a time, in order of time.

    Two cursors where they lie in two tables: by the database, all would have to be sorted before the first comes.

    Args:
        both: there are some in `readings_text`, too; see `history_rows.with_texts`.
    """
    values = {"series": series, "start": window.start, "end": window.end}
    with rows.as_sqlalchemy():
        async with AsyncServerCursor(connection, "numbers") as numbers, AsyncServerCursor(connection, "texts") as texts:
            await numbers.execute(rows.EVERY_NUMBER, values, binary=True)
            number_rows: list[Row] = await numbers.fetchmany(READINGS_AT_ONCE)
            text_rows: list[Row] = []
            if both:
                await texts.execute(rows.EVERY_TEXT, values, binary=True)
                text_rows = await texts.fetchmany(READINGS_AT_ONCE)
            while number_rows or text_rows:
                # Up to the earlier of the two last times everything is known.
                until_ms = min(part[-1][0] for part in (number_rows, text_rows) if part)
                parts = [[row for row in part if row[0] <= until_ms] for part in (number_rows, text_rows)]
                yield sorted(chain(*parts), key=_TIME) if all(parts) else parts[0] or parts[1]
                number_rows, text_rows = number_rows[len(parts[0]) :], text_rows[len(parts[1]) :]
                number_rows = number_rows or await numbers.fetchmany(READINGS_AT_ONCE)
                text_rows = text_rows or (await texts.fetchmany(READINGS_AT_ONCE) if both else [])


def _csv(tag: TagInfo, read: Sequence[Row]) -> Iterable[str]:
    """Lines as RFC 4180 has them. No value is an empty field, an empty text a quoted one."""
    start = f",{quoted(tag.name)},{quoted(tag.unit)},"
    for at, row in zip(_iso(read), read, strict=True):
        value = read_value(tag.datatype, row[2], row[3])
        yield f"{at}{start}{row[1]},{csv_value(value)}\r\n"


def csv_value(value: Value) -> str:
    """A value as a field of CSV, exactly."""
    if isinstance(value, str):
        return '"' + value.replace('"', '""') + '"'
    return "" if value is None else _exact(value)


def quoted(text: str) -> str:
    """A name as a field of CSV."""
    return '"' + text.replace('"', '""') + '"' if any(each in text for each in ',"\r\n') else text


def _ndjson(tag: TagInfo, read: Sequence[Row]) -> Iterable[str]:
    """One object a line. Integers beyond 2^53 are texts; so are NaN and the infinities, which JSON does not have."""
    start = f'","tag":{_json(tag.name)},"unit":{_json(tag.unit)},"quality":'
    for at, row in zip(_iso(read), read, strict=True):
        value = read_value(tag.datatype, row[2], row[3])
        if isinstance(value, float) and not math.isfinite(value):
            value = _exact(value)
        yield f'{{"taken_at":"{at}{start}{row[1]},"value":{_json(shown(value))}}}\n'


def _exact(value: float | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not math.isfinite(value):
        return _SPECIAL.get(value, "NaN")
    return repr(value)


_json: Callable[[Any], str] = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def _iso(read: Sequence[Row]) -> list[str]:
    times = np.array([row[0] for row in read], dtype="datetime64[ms]")
    return np.datetime_as_string(times, timezone="UTC").tolist()  # type: ignore[no-any-return]  # numpy does not say
