"""Arithmetic of completeness: numbers that are missing, hours and days and what falls into them. Pure.

Used by `lms_cloud.telemetry.completeness.service`, which reads the rows.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from lms_cloud.telemetry.completeness.report import Bucket, Report, Unit

UNITS: Final[dict[Unit, timedelta]] = {"hour": timedelta(hours=1), "day": timedelta(days=1)}


def floor(at: datetime, unit: Unit) -> datetime:
    """The beginning of the hour or day, UTC, that an instant lies in."""
    at = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return at if unit == "hour" else at.replace(hour=0)


def holes(firsts: Sequence[int], lasts: Sequence[int], head: int) -> Iterator[tuple[int, int]]:
    """The numbers from 1 to `head` that no range covers, as ranges; both ends included everywhere."""
    expected = 1
    for first, last in zip(firsts, lasts, strict=True):
        if first > expected:
            yield expected, first - 1
        expected = max(expected, last + 1)
    if head >= expected:
        yield expected, head


def in_a_row(rows: Iterable[Any]) -> Iterator[tuple[UUID, int, int]]:
    """Numbers in order, as (stream, number), joined to ranges of the same stream."""
    open_: tuple[UUID, int, int] | None = None
    for stream, number in rows:
        if open_ is not None and open_[0] == stream and open_[2] + 1 == number:
            open_ = (stream, open_[1], number)
            continue
        if open_ is not None:
            yield open_
        open_ = (stream, number, number)
    if open_ is not None:
        yield open_


def with_buckets(report: Report, rows: Iterable[Any]) -> Report:
    """The report with every bucket of its window, also those in which nothing was.

    Args:
        rows: what was stored: `start`, `batches`, `readings` and `late` of some buckets.
    """
    tallies = {row.start.astimezone(UTC): row for row in rows}
    step = UNITS[report.unit]
    count = round((report.end - report.start) / step)
    buckets = [Bucket(report.start + index * step) for index in range(count)]
    for bucket in buckets:
        if bucket.start in tallies:
            row = tallies[bucket.start]
            bucket.batches, bucket.readings, bucket.late = row.batches, row.readings, row.late

    def between(from_: datetime, to: datetime) -> range:
        """Of the buckets that hold an instant from `from_` to `to`, both included."""
        return range(max(0, (from_ - report.start) // step), min(count - 1, (to - report.start) // step) + 1)

    for span in report.spans:
        for index in between(span.after or report.start, span.before or report.end):
            buckets[index].missing += 0 if span.dead else span.count
            buckets[index].dead += span.count if span.dead else 0
    for from_, to in joined((gap.began_at, gap.ended_at or report.end) for gap in report.gaps):
        for index in between(from_, to):
            start = buckets[index].start
            buckets[index].gap_s += max(0.0, (min(to, start + step) - max(from_, start)).total_seconds())
    return replace(report, buckets=buckets)


def joined(spans: Iterable[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    """The same time in as few spans as possible, in order."""
    result: list[tuple[datetime, datetime]] = []
    for first, last in sorted(spans):
        if result and first <= result[-1][1]:
            result[-1] = (result[-1][0], max(last, result[-1][1]))
        else:
            result.append((first, last))
    return result


def without(
    span: tuple[datetime, datetime], others: Iterable[tuple[datetime, datetime]]
) -> list[tuple[datetime, datetime]]:
    """What is left of a time when others are taken from it."""
    left: list[tuple[datetime, datetime]] = []
    at, end = span
    for first, last in joined(others):
        if first > at:
            left.append((at, min(first, end)))
        at = max(at, last)
        if at >= end:
            return left
    return [*left, (at, end)]
