"""Tags become measurements: grouped, judged by age and quality, drawn."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from lms_cloud.web.pages.cards import card, stats, status_of
from lms_cloud.web.pages.measurements import STALE_AFTER, TagNow, default_choice, judge, measurements
from lms_cloud.web.pages.shapes import Trace, range_bar, sparkline
from lms_protocol.reading import Quality, Value

NOW = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)


def tag(name: str, value: Value = 7.0, *, age_s: float = 1, quality: int = Quality.GOOD, **more: object) -> TagNow:
    taken_at = NOW - timedelta(seconds=age_s)
    described = {"unit": "pH", "low": 0.0, "high": 14.0, "decimals": 2, **more}
    return TagNow(id=uuid4(), name=name, value=value, quality=quality, taken_at=taken_at, **described)


def test_value_set_point_and_output_are_one_measurement() -> None:
    made = measurements([tag("pH/PV"), tag("pH/SP", 7.2), tag("pH/OUT", 12.0), tag("Foam", 0.0)], NOW)
    assert [(m.name, m.number, m.set_number, m.out_number) for m in made] == [
        ("pH", "7.00", "7.20", "12.00"),
        ("Foam", "0.00", "", ""),
    ]


def test_what_stands_beside_a_calibrated_value_and_events_are_no_measurements() -> None:
    beside = [tag("pH/RAW", 7.1), tag("pH/Calibration", 3), tag("Events/Calibration", "{}")]
    made = measurements([tag("pH/PV"), *beside, tag("Other/RAW", 1.0)], NOW)
    assert [m.name for m in made] == ["pH", "Other/RAW"]


def test_loops_that_matter_most_come_first() -> None:
    made = measurements([tag(f"{n}/PV") for n in ("Zinc", "Weight", "DO", "Air", "pH", "Temperature")], NOW)
    assert [m.name for m in made] == ["pH", "DO", "Temperature", "Weight", "Air", "Zinc"]


def test_set_point_alone_is_shown_as_the_value() -> None:
    (made,) = measurements([tag("Feed/SP", 1.5)], NOW)
    assert (made.number, made.set) == ("1.50", None)


@pytest.mark.parametrize(
    ("latest", "state"),
    [
        (tag("pH/PV"), "fresh"),
        (tag("pH/PV", age_s=STALE_AFTER.total_seconds() + 1), "stale"),
        (tag("pH/PV", quality=Quality.STALE), "stale"),
        (tag("pH/PV", None, quality=Quality.BAD), "absent"),
        (tag("pH/PV", 14.2), "outside"),
        (tag("pH/PV", -0.1), "outside"),
        (tag("pH/PV", quality=Quality.UNCERTAIN), "doubtful"),
        (TagNow(id=uuid4(), name="pH/PV"), "absent"),
    ],
)
def test_state_of_a_latest_reading(latest: TagNow, state: str) -> None:
    assert judge(latest, NOW)[0] == state


def test_old_reading_is_stale_whatever_its_quality_was() -> None:
    assert judge(tag("pH/PV", None, quality=Quality.BAD, age_s=35), NOW) == ("stale", "stale 35 s")


def test_trend_begins_with_the_first_three_loops_and_their_set_points() -> None:
    tags = [tag(n) for n in ("Temperature/PV", "pH/PV", "pH/SP", "DO/PV", "Weight/PV", "pH/OUT")]
    assert default_choice(measurements(tags, NOW)) == ["pH/PV", "pH/SP", "DO/PV", "Temperature/PV"]


def test_range_bar_holds_values_beyond_the_limits_inside() -> None:
    bar = range_bar(20.0, 7.0, 0.0, 14.0)
    assert (bar.now, bar.set, bar.apart_x, bar.apart_width) == (100.0, 50.0, 50.0, 50.0)


def test_sparkline_breaks_where_nothing_was_read() -> None:
    trace = Trace([0, 1000, 2000, 30_000, 31_000], [1.0, 1.0, None, 1.0, 1.0])
    assert sparkline(trace, None, 0, 31_000, 0.1).line.count("M") == 2


def fleet_card(name: str, online: bool | None, age_s: float = 1, value: Value = 7.0) -> object:
    tags = [tag("pH/PV", value, age_s=age_s)]
    return card(id_=UUID(int=1), name=name, place="", online=online, since=NOW, tags=tags, now=NOW, traces={})


def test_cards_that_need_attention_come_first() -> None:
    cards = [
        fleet_card("calm", True),
        fleet_card("never", None),
        fleet_card("outside", True, value=15.0),
        fleet_card("stale", True, age_s=60),
        fleet_card("offline", False),
        fleet_card("also calm", True),
    ]
    names = [c.name for c in sorted(cards, key=lambda c: c.urgency)]
    assert names == ["offline", "stale", "outside", "never", "also calm", "calm"]
    counted = stats(cards)
    assert (counted.bioreactors, counted.online, counted.stale, counted.offline, counted.outside) == (6, 3, 1, 1, 1)


def test_online_needs_readings_that_come() -> None:
    assert status_of(True, NOW - timedelta(seconds=60), NOW) == "stale"
    assert status_of(True, None, NOW) == "stale"
    assert status_of(None, None, NOW) == "never"
