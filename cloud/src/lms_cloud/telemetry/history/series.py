"""Reads each tag of a window at the resolution that fits: every reading, thinned readings, or buckets.

Before it: `lms_cloud.telemetry.history.service`, which knows window, tags and gaps; after it: `shaping`. The choice
is made without counting what a long window holds: rollups tell about how much there is, and no read takes more than
its budget.

    readings that fit max_points                     raw
    more, but few enough to be read and thinned      downsampled (see `thinning`)
    more than that, or dropped by retention          envelope (see `buckets`, `envelopes`)
    texts, where there are too many                  downsampled: the first of each stretch
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

import numpy as np
from lms_protocol.reading import Datatype, Quality

from lms_cloud.kernel.database import UnitOfWork
from lms_cloud.kernel.errors import Invalid
from lms_cloud.telemetry.history import rows
from lms_cloud.telemetry.history.breaks import Gap
from lms_cloud.telemetry.history.buckets import (
    DAY_S,
    HOUR_S,
    MINUTE_S,
    Buckets,
    buckets_of,
    choose_buckets,
    multiple_of,
    spans,
)
from lms_cloud.telemetry.history.drawing import TagReadings, of_numbers, of_rows
from lms_cloud.telemetry.history.envelopes import Pieces, fold
from lms_cloud.telemetry.history.shaping import GapRecord, SeriesHistory, draw_envelope
from lms_cloud.telemetry.incoming import to_instant
from lms_cloud.telemetry.values import TagInfo

Wanted = Literal["auto", "raw", "1m", "1h", "1d"]
BUCKETS_S: Final = {"1m": MINUTE_S, "1h": HOUR_S, "1d": DAY_S}

SHORT_MS: Final = 6 * HOUR_S * 1000
"""A window as short as this is read without asking the rollups first how much it holds."""
FRESH_MS: Final = DAY_S * 1000
"""Readings as new as this are never dropped by retention."""


@dataclass(frozen=True, slots=True)
class Window:
    """What was asked for.

    Attributes:
        start_ms, end_ms: ms UTC; the end is not included.
        max_points: most points of a tag, breaks included.
        wanted: the resolution, where the client chooses.
        zone: whose days buckets of days are.
    """

    start_ms: int
    end_ms: int
    max_points: int
    wanted: Wanted = "auto"
    zone: ZoneInfo | None = None

    @property
    def start(self) -> datetime:
        """The beginning, aware UTC."""
        return to_instant(self.start_ms)

    @property
    def end(self) -> datetime:
        """The end, aware UTC."""
        return to_instant(self.end_ms)

    def fixed_buckets(self) -> Buckets:
        """The buckets that the client chose.

        Raises:
            Invalid: they are more than `max_points`.
        """
        buckets = buckets_of(BUCKETS_S[self.wanted], self.start_ms, self.end_ms, self.zone)
        if len(buckets.starts_ms) > self.max_points:
            remedy = f"a window of at most {self.max_points} buckets (it has {len(buckets.starts_ms)}), a larger"
            raise Invalid("resolution", self.wanted, f"{remedy} max_points, longer buckets, or auto")
        return buckets


@dataclass(frozen=True, slots=True)
class Budget:
    """How much one answer may read.

    Attributes:
        readings_of_a_tag: most that are read to be thinned: two days at 1 Hz, 40 ms.
        readings_in_all: the same of all tags together.
        rows_in_all: about as many rows of rollups, 0.3 s.
    """

    readings_of_a_tag: int = 200_000
    readings_in_all: int = 1_000_000
    rows_in_all: int = 300_000

    def readings(self, tags: int) -> int:
        """Most readings of each of some tags."""
        return min(self.readings_of_a_tag, self.readings_in_all // tags)


class SeriesReader:
    """Reads the series of one window in one unit of work.

    Args:
        uow: of the tenant.
        window: what was asked for.
        tags: by series number.
        gaps: of the bioreactor, in the window.
        budget: how much may be read.
    """

    def __init__(
        self, uow: UnitOfWork, window: Window, tags: Mapping[int, TagInfo], gaps: Iterable[GapRecord], budget: Budget
    ) -> None:
        self._budget = budget
        self._uow = uow
        self._window = window
        self._tags = tags
        self._gaps = list(gaps)
        self._found: dict[int, SeriesHistory] = {}

    async def read(self) -> dict[int, SeriesHistory]:
        """All series.

        Raises:
            Invalid: the resolution asked for would be more points than `max_points`.
        """
        texts = [number for number, tag in self._tags.items() if tag.datatype is Datatype.STRING]
        await self._read_texts(texts)
        await self._read_numbers([number for number in self._tags if number not in texts])
        for number, tag in self._tags.items():
            self._found.setdefault(number, SeriesHistory(tag))
        return self._found

    async def _read_numbers(self, series: Sequence[int]) -> None:
        if not series:
            return
        window = self._window
        if window.wanted in BUCKETS_S:
            await self._read_buckets(series, window.fixed_buckets())
            return
        most = window.max_points if window.wanted == "raw" else self._budget.readings(len(series))
        expected = await self._expected(series) if window.wanted == "auto" else {}
        near = [number for number in series if expected.get(number, 0) <= most]
        for number, (count, readings) in (await self.read_all(near, most)).items():
            if expected.get(number, 0) <= count <= most:
                self._found[number] = self._draw(readings)
        far = [number for number in series if number not in self._found]
        if window.wanted == "raw":
            self._refuse_raw(far)
        if far:
            await self._read_kept_buckets(far, expected)

    async def read_all(self, series: Sequence[int], most: int) -> dict[int, tuple[int, TagReadings]]:
        """Readings of each series and how many there were: a count above `most` says that there are more of them."""
        if not series:
            return {}
        window = self._window
        connection = await self._uow.driver_connection()
        mixed = await rows.with_texts(connection, series, window.start, window.end)
        plain = [number for number in series if number not in mixed]
        numbers = await rows.read_numbers(connection, plain, window.start, window.end, most + 1) if plain else {}
        found = {number: (len(each.at_ms), of_numbers(self._tags[number], each)) for number, each in numbers.items()}
        for number, read in (await self._rows(sorted(mixed), most + 1)).items():
            found[number] = (len(read), of_rows(self._tags[number], read))
        return {number: found.get(number) or (0, of_rows(self._tags[number], ())) for number in series}

    async def _expected(self, series: Sequence[int]) -> Mapping[int, int]:
        """How many readings there are at least, as far as rollups know: they outlive the readings."""
        window = self._window
        now_ms = round(self._uow.now().timestamp() * 1000)
        if window.end_ms - window.start_ms <= SHORT_MS and window.start_ms > now_ms - FRESH_MS:
            return {}
        known = [span for span in spans(window.start_ms, window.end_ms, DAY_S, now_ms) if span.rollup_s]
        return await rows.estimate(await self._uow.driver_connection(), series, known) if known else {}

    async def _read_texts(self, series: Sequence[int]) -> None:
        if not series:
            return
        window = self._window
        if window.wanted in BUCKETS_S:
            await self._read_firsts(series, window.fixed_buckets())
            return
        most = window.max_points
        expected = await self._expected(series) if window.wanted == "auto" else {}
        near = [number for number in series if expected.get(number, 0) <= most]
        found = {number: read for number, read in (await self._rows(near, most + 1)).items() if len(read) <= most}
        many = [number for number in series if number not in found]
        if window.wanted == "raw":
            self._refuse_raw(many)
        for number, read in found.items():
            self._found[number] = self._draw(of_rows(self._tags[number], read))
        await self._read_firsts(many, self._stretches())

    async def _read_buckets(self, series: Sequence[int], buckets: Buckets) -> dict[int, int]:
        """Draw buckets; how many readings they hold, by series."""
        found = await self._pieces(series, buckets)
        held: dict[int, int] = {}
        for number in series:
            envelope = fold(found.get(number) or Pieces.none(), buckets)
            gaps, most = self._gaps_of(number), self._window.max_points
            self._found[number] = draw_envelope(self._tags[number], envelope, gaps, buckets.bucket_s, most)
            held[number] = int(envelope.readings.sum())
        return held

    async def _read_kept_buckets(self, series: Sequence[int], expected: Mapping[int, int]) -> None:
        """Buckets of the shortest rollups that fit, or of longer ones where retention has dropped those."""
        window, missing = self._window, list(series)
        buckets = self._buckets(window.max_points, len(series))
        for longer_s in (HOUR_S, DAY_S, None):
            known = await self._read_buckets(missing, buckets)
            missing = [number for number in missing if known[number] < expected.get(number, 0)]
            if not missing or longer_s is None:
                return
            if buckets.bucket_s % longer_s or buckets.rollup_s < longer_s:
                buckets = multiple_of(longer_s, window.start_ms, window.end_ms, window.max_points, window.zone)

    def _buckets(self, max_points: int, tags: int) -> Buckets:
        window, most_rows = self._window, self._budget.rows_in_all // tags
        return choose_buckets(window.start_ms, window.end_ms, max_points, most_rows=most_rows, zone=window.zone)

    async def _pieces(self, series: Sequence[int], buckets: Buckets) -> dict[int, Pieces]:
        window = self._window
        now_ms = round(self._uow.now().timestamp() * 1000)
        parts = spans(window.start_ms, window.end_ms, buckets.rollup_s, now_ms)
        return await rows.read_pieces(await self._uow.driver_connection(), series, parts)

    def _stretches(self) -> Buckets:
        """Stretches for texts: three quarters of the points asked for, which leaves room for breaks."""
        window = self._window
        points = max(1, window.max_points * 3 // 4)
        if window.end_ms - window.start_ms >= MINUTE_S * 1000 * points:
            return self._buckets(points, len(self._tags))
        width_ms = max(1, -(-(window.end_ms - window.start_ms) // points))
        return Buckets(0, np.arange(window.start_ms, window.end_ms, width_ms, dtype=np.int64), 0)

    async def _read_firsts(self, series: Sequence[int], stretches: Buckets) -> None:
        """The first reading of each stretch, with the worst quality in it."""
        if not series:
            return
        connection = await self._uow.driver_connection()
        for number, pieces in (await self._pieces(series, stretches)).items():
            # The rollups know when the first reading of each stretch was taken: only those are looked up.
            first = fold(pieces, stretches)
            times = [to_instant(ms) for ms in first.taken_at_ms.tolist()]
            readings = of_rows(self._tags[number], await rows.read_at(connection, number, times))
            history = readings.whole(self._gaps_of(number), max_points=self._window.max_points)
            worst = dict(zip(first.taken_at_ms.tolist(), first.quality.tolist(), strict=True))
            history.worst = [worst.get(at_ms, int(Quality.BAD)) for at_ms in history.taken_at_ms]
            self._found[number] = history

    async def _rows(self, series: Sequence[int], most: int) -> dict[int, list[Any]]:
        connection, window = await self._uow.driver_connection(), self._window
        return {number: await rows.read_both(connection, number, window.start, window.end, most) for number in series}

    def _draw(self, readings: TagReadings) -> SeriesHistory:
        gaps, most = self._gaps_of(readings.tag.series), self._window.max_points
        return readings.whole(gaps, max_points=most) if self._window.wanted == "raw" else readings.drawn(gaps, most)

    def _gaps_of(self, number: int | None) -> list[Gap]:
        return [gap.times for gap in self._gaps if number in gap.series]

    def _refuse_raw(self, too_many: Sequence[int]) -> None:
        if too_many:
            name, most = self._tags[too_many[0]].name, self._window.max_points
            remedy = f"a window in which each tag has at most {most} readings (max_points), which {name} has not"
            raise Invalid("resolution", "raw", f"{remedy}; auto; or history.csv, which streams every reading")
