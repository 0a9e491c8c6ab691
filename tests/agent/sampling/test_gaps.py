"""Every interval in which nothing was read has a gap record, and only such intervals."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lms_protocol.reading import Gap, Quality


async def visits(instrument, clock, count):
    instrument.begin(clock.now_s)
    taken = []
    for _ in range(count):
        await clock.spend(max(instrument.due_s - clock.now_s, 0.0))
        taken.append(await instrument.visit())
    return taken


async def test_failing_instrument_gives_one_bad_reading_per_tag_and_one_gap(clock, scripted, watch, start_ms):
    driver = scripted(clock, [1, 2], silent=lambda at_s: 1.5 < at_s < 7.5)
    taken = await visits(watch(driver), clock, 12)
    bad = [reading for one in taken for reading in one.readings if reading.quality is Quality.BAD]
    assert [(reading.tag, reading.value) for reading in bad] == [(1, None), (2, None)]
    opened, closed = [gap for one in taken for gap in one.gaps]
    assert opened == Gap(1, (1, 2), start_ms + 1010, None, "no reply from unit 3 on line-1 within 0.3 s")
    assert closed.id == opened.id
    first_good = next(one.readings[0].taken_at_ms for one in taken if one.gaps and one.gaps[0].ended_at_ms)
    assert closed.ended_at_ms == first_good


async def test_instrument_that_never_answered_has_a_gap_from_its_first_failure(clock, scripted, watch, start_ms):
    (taken,) = await visits(watch(scripted(clock, [1], silent=lambda at_s: True)), clock, 1)
    assert taken.gaps[0].began_at_ms == start_ms + 10


async def test_tag_that_stays_missing_gets_a_gap_of_its_own(clock, scripted, watch):
    def silent(at_s):
        return (1, 2) if at_s < 0.5 else (2,) if at_s < 3.5 else ()

    taken = await visits(watch(scripted(clock, [1, 2], silent=silent)), clock, 6)
    gaps = [gap for one in taken for gap in one.gaps]
    assert [(gap.id, gap.tags, gap.ended_at_ms is None) for gap in gaps] == [
        (1, (1, 2), True),
        (1, (1, 2), False),
        (2, (2,), True),
        (2, (2,), False),
    ]
    assert gaps[2].began_at_ms == gaps[1].ended_at_ms


async def test_gap_left_open_by_an_earlier_run_is_closed_by_the_first_reading(clock, scripted, watch, start_ms):
    old = [Gap(77, (1, 2), start_ms - 5000, None, "no reply"), Gap(78, (8,), start_ms - 5000, None, "another's")]
    taken = await visits(watch(scripted(clock, [1, 2]), open_gaps=old), clock, 2)
    assert taken[0].gaps == [old[0]._replace(ended_at_ms=start_ms + 10)]
    assert taken[1].gaps == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(st.sets(st.sampled_from([1, 2, 3])), min_size=1, max_size=40))
async def test_every_missing_tag_is_in_exactly_one_open_gap(clock, scripted, watch, pattern):
    missing = iter(pattern)
    driver = scripted(clock, [1, 2, 3], silent=lambda at_s: tuple(next(missing)))
    instrument = watch(driver)
    instrument._backoff.most_s = 0.0  # every tick is a visit
    open_gaps: dict[int, Gap] = {}
    for number, taken in enumerate(await visits(instrument, clock, len(pattern))):
        for gap in taken.gaps:
            if gap.ended_at_ms is None:
                assert gap.id not in open_gaps
                open_gaps[gap.id] = gap
            else:
                assert open_gaps.pop(gap.id)._replace(ended_at_ms=gap.ended_at_ms) == gap
                assert gap.began_at_ms <= gap.ended_at_ms
        told = sorted(tag for gap in open_gaps.values() for tag in gap.tags)
        assert told == sorted(pattern[number])
        values = {reading.tag for reading in taken.readings if reading.value is not None}
        assert values == {1, 2, 3} - pattern[number]
