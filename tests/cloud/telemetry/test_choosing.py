"""What the refresher computes next: bounded, nothing forgotten, and nobody waits for whoever has more."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from lms_cloud.telemetry.storage.rollups.choosing import Waiting, choose

MINUTE = 29_923_920  # 2026-11-23 12:00 UTC
DAY = 1_440
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
R1, R2, R3 = (UUID(int=n) for n in (1, 2, 3))


def waiting(home, first, last, *, fresh=False, series=50, age_h=24.0):
    since = NOW - (timedelta(seconds=30) if fresh else timedelta(hours=age_h))
    return Waiting(home, since, first, last, series, fresh)


def minutes(marks):
    return Counter((mark.bioreactor_id, n) for mark in marks for n in range(mark.first, mark.last + 1))


@st.composite
def some_marks(draw):
    """Marks as the database gives them: of one bioreactor, those as fresh as one another never overlap."""
    found = []
    for home, series in ((R1, 1), (R2, 3)):
        for fresh in (False, True):
            ends = draw(st.lists(st.integers(0, 240), max_size=8, unique=True))
            ends = sorted(ends[: len(ends) // 2 * 2])
            for first, last in zip(ends[::2], ends[1::2], strict=True):
                found.append(
                    waiting(home, MINUTE - 3000 + 15 * first, MINUTE - 3000 + 15 * last, fresh=fresh, series=series)
                )
    return found


@given(some_marks(), st.integers(1, 3000))
def test_each_minute_is_computed_once_or_stays_marked_as_it_was(marks, budget):
    now, later = choose(marks, MINUTE, budget)
    computed = minutes(now)
    assert not computed or max(computed.values()) == 1
    assert computed or not marks
    old, fresh = (minutes(mark for mark in marks if mark.fresh is kind) for kind in (False, True))
    days = {(home, n // DAY) for home, n in fresh if n < MINUTE - 60}
    # What waits beside late minutes in their days is as urgent as they are; how long it has waited stays known.
    urgent = fresh.keys() | {(home, n) for home, n in old if (home, n // DAY) in days and n < MINUTE - 60}
    still = [minutes(mark for mark in later if mark.fresh is kind) for kind in (False, True)]
    assert still[0] == Counter(old.keys() - computed.keys())
    assert urgent - computed.keys() <= still[1].keys() <= fresh.keys() | old.keys() - computed.keys()
    assert {mark.marked_at for mark in later} <= {mark.marked_at for mark in marks}
    assert computed.keys() <= minutes(marks).keys()


@given(some_marks(), st.integers(100, 3000))
def test_work_of_a_round_is_bounded(marks, budget):
    """Each of the four parts takes at least a minute where there is one, so it may go over by a minute of each."""
    assert sum(mark.series_minutes for mark in choose(marks, MINUTE, budget).now) <= budget + 4 * 3


def test_short_late_marks_go_before_wide_ones_and_before_years():
    years = waiting(R1, MINUTE - 1000 * DAY, MINUTE - 1)
    week = waiting(R2, MINUTE - 20 * DAY, MINUTE - 13 * DAY, fresh=True)
    late = waiting(R3, MINUTE - 30 * DAY, MINUTE - 30 * DAY + 4, fresh=True)
    now, _ = choose([years, week, late], MINUTE, 30_000)
    computed = minutes(now)
    assert all(computed[R3, n] for n in range(late.first, late.last + 1))
    assert sum(1 for home, _ in computed if home == R2) > 100
    oldest = sum(1 for home, n in computed if home == R1 and n < MINUTE - 60)
    assert oldest >= (30_000 - 60 * 50) // 4 // 50, "the oldest comes to an end, too"


def test_days_of_late_minutes_are_computed_whole_before_years_go_on():
    """An hour and a day are right only when all of their minutes are: those that wait in it come with the late one."""
    years = waiting(R1, MINUTE - 1000 * DAY, MINUTE - 1, series=1)
    at = MINUTE - 30 * DAY
    late = waiting(R1, at, at, fresh=True, series=1)
    marks, computed, rounds = [years, late], set(), 0
    while any(mark.fresh for mark in marks):
        now, marks = choose(marks, MINUTE, 400)
        computed |= minutes(now).keys()
        rounds += 1
    day = at - at % DAY
    assert {(R1, n) for n in range(day, day + DAY)} <= computed
    assert rounds <= 8


def test_last_hour_has_half_of_a_round_whatever_waits_beside_it():
    live = waiting(R1, MINUTE - 50, MINUTE - 1, fresh=True, series=1_000)
    late = [waiting(R2, MINUTE - 9 * DAY + 10 * n, MINUTE - 9 * DAY + 10 * n, fresh=True) for n in range(1_200)]
    now, _ = choose([*late, live], MINUTE, 30_000)
    assert sum(1 for home, _ in minutes(now) if home == R1) == 15


def test_live_minutes_do_not_make_all_of_today_urgent():
    """After an upgrade today waits in every bioreactor: a late minute's day would have to wait for all of those."""
    years = [waiting(home, MINUTE - 1000 * DAY, MINUTE - 1) for home in (R1, R2)]
    live = [waiting(home, MINUTE - 2, MINUTE - 1, fresh=True) for home in (R1, R2)]
    late = waiting(R1, MINUTE - 30 * DAY, MINUTE - 30 * DAY, fresh=True)
    marks, rounds = [*years, *live, late], 0
    while any(mark.fresh for mark in marks):
        _, marks = choose(
            [*(mark for mark in marks if mark.last < MINUTE - 2 or not mark.fresh), *live], MINUTE, 30_000
        )
        marks = [mark for mark in marks if mark.last < MINUTE - 2 or not mark.fresh]
        rounds += 1
    assert rounds <= 6
