"""Buckets and spans: exactly the window, nothing twice, local days over DST, and never a bucket cut in two."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lms_cloud.telemetry.history.buckets import (
    DAY_S,
    HOUR_S,
    MINUTE_S,
    ROLLUPS_S,
    Span,
    buckets_of,
    choose_buckets,
    multiple_of,
    spans,
)

NOON_MS = 1_795_435_200_000
HOUR_MS = HOUR_S * 1000
ZONES = ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Havana"]
INSTANTS = st.integers(NOON_MS - 400 * DAY_S * 1000, NOON_MS + 400 * DAY_S * 1000)


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


@given(INSTANTS, st.integers(1, 500 * DAY_S * 1000), st.sampled_from(ROLLUPS_S), INSTANTS)
def test_spans_are_exactly_the_window_and_trust_no_new_bucket(start_ms, length_ms, longest_s, now_ms):
    found = spans(start_ms, start_ms + length_ms, longest_s, now_ms)
    assert found[0].start_ms == start_ms
    assert found[-1].end_ms == start_ms + length_ms
    assert all(before.end_ms == after.start_ms for before, after in pairwise(found))
    for span in found:
        assert span.start_ms < span.end_ms
        assert span.rollup_s <= longest_s
        width_ms = span.rollup_s * 1000
        if width_ms:
            assert span.start_ms % width_ms == span.end_ms % width_ms == 0
            present = now_ms // width_ms * width_ms
            assert span.end_ms <= present - width_ms or span.start_ms >= present + 2 * width_ms
        else:
            # Never more than some minutes reading by reading: an edge, and the newest three minutes.
            assert span.end_ms - span.start_ms < 5 * 60_000


def test_a_year_is_read_from_hours_and_its_edges_from_shorter_rollups():
    start_ms = ms("2025-11-23T17:20:30.500+00:00")
    found = spans(start_ms, NOON_MS + 10, HOUR_S, NOON_MS + 90 * 60_000)
    assert [(span.rollup_s, span.end_ms - span.start_ms) for span in found] == [
        (0, 29_500),
        (MINUTE_S, 39 * 60_000),
        (HOUR_S, (364 * 24 + 18) * HOUR_MS),
        (0, 10),
    ]


@pytest.mark.parametrize("max_points", [10, 100, 900, 2000, 5000])
@pytest.mark.parametrize("hours", [0.01, 1, 24, 24 * 30, 24 * 365, 24 * 36_500])
def test_chosen_buckets_are_never_too_many_and_cover_the_window(hours, max_points):
    start_ms = NOON_MS - 12_345
    end_ms = start_ms + round(hours * HOUR_MS)
    for most_rows in (1_000, 100_000):
        buckets = choose_buckets(start_ms, end_ms, max_points, most_rows=most_rows)
        assert 1 <= len(buckets.starts_ms) <= max_points
        assert buckets.starts_ms[0] <= start_ms < buckets.starts_ms[0] + buckets.bucket_s * 1000
        assert buckets.starts_ms[-1] < end_ms <= buckets.starts_ms[-1] + buckets.bucket_s * 1000
        assert not (buckets.starts_ms % (buckets.rollup_s * 1000)).any()


def test_thirty_days_are_shown_in_minutes_of_one_tag_and_in_hours_of_many():
    month = (NOON_MS - 30 * DAY_S * 1000, NOON_MS)
    assert choose_buckets(*month, 2000, most_rows=300_000).bucket_s == 22 * MINUTE_S
    assert choose_buckets(*month, 2000, most_rows=3_000).bucket_s == HOUR_S
    assert choose_buckets(NOON_MS - 365 * DAY_S * 1000, NOON_MS, 2000, most_rows=300_000).bucket_s == 5 * HOUR_S


@given(st.sampled_from(ZONES), INSTANTS, st.integers(1, 90 * 24), st.integers(1, 9))
def test_local_days_begin_at_local_midnight_and_are_made_of_whole_rollup_buckets(name, start_ms, hours, days):
    zone = ZoneInfo(name)
    end_ms = start_ms + hours * HOUR_MS
    buckets = buckets_of(days * DAY_S, start_ms, end_ms, zone)
    starts = buckets.starts_ms.tolist()
    assert starts[0] <= start_ms < [*starts[1:], starts[0] + (days * 24 + 2) * HOUR_MS][0]
    assert starts[-1] < end_ms
    assert (np.diff(starts) > 0).all()
    assert not (buckets.starts_ms % (buckets.rollup_s * 1000)).any()
    for at_ms in starts:
        local = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone)
        before = datetime.fromtimestamp(at_ms / 1000 - 60, UTC).astimezone(zone)
        assert before.date() == local.date() - timedelta(days=1)


def test_days_of_berlin_are_23_24_and_25_hours_long():
    berlin = ZoneInfo("Europe/Berlin")
    spring = buckets_of(DAY_S, ms("2026-03-28T00:00+01:00"), ms("2026-03-31T00:00+02:00"), berlin)
    assert (np.diff(spring.starts_ms) // HOUR_MS).tolist() == [24, 23]
    autumn = buckets_of(DAY_S, ms("2026-10-24T00:00+02:00"), ms("2026-10-27T00:00+01:00"), berlin)
    assert (np.diff(autumn.starts_ms) // HOUR_MS).tolist() == [24, 25]
    assert (spring.rollup_s, autumn.rollup_s) == (HOUR_S, HOUR_S)


def test_days_of_utc_are_read_from_days_and_those_of_kathmandu_from_minutes():
    week = (NOON_MS - 7 * DAY_S * 1000, NOON_MS)
    assert buckets_of(DAY_S, *week, ZoneInfo("UTC")).rollup_s == DAY_S
    assert buckets_of(DAY_S, *week, None).rollup_s == DAY_S
    assert buckets_of(DAY_S, *week, ZoneInfo("Asia/Kathmandu")).rollup_s == MINUTE_S


def test_edges_of_spans_without_a_whole_bucket_are_read_one_by_one():
    assert spans(NOON_MS + 1, NOON_MS + 59_999, DAY_S, 0) == [Span(0, NOON_MS + 1, NOON_MS + 59_999)]


def test_multiples_grow_until_they_fit():
    assert len(multiple_of(MINUTE_S, NOON_MS - 1, NOON_MS + 10 * 60_000, 10).starts_ms) <= 10
