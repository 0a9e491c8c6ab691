"""`lms-agent history`: what is drawn is what was read."""

import math
import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lms_agent.cli.screen.tables import table
from lms_agent.log.jobs import Entry
from lms_agent.log.reader import LogReader
from lms_agent.log.sqlite_log import SqliteLog
from lms_agent.registering import register
from lms_agent.settings import load_settings
from lms_agent.trend.gathering import Bucket, Trend, gather
from lms_agent.trend.plotting import plot, sparkline, steps_for
from lms_agent.trend.scales import Scale, round_times
from lms_protocol.reading import Datatype, Gap, Quality, Reading, TagDescription

BEGAN_MS = 1_795_593_600_000  # 2026-11-25T08:00Z
TAG = TagDescription(number=1, device="R1", name="pH/PV", datatype=Datatype.DOUBLE, unit="pH", decimals=2)


@pytest.fixture
async def logged(plant):
    """An hour of the plant's three tags, with an hour's gap before, and one spike of a second."""
    settings = load_settings(plant.config)
    with SqliteLog.open(settings.agent.log) as log:
        tags = {tag.name: tag.number for tag in register(log, settings)}
        chance = random.Random(4)
        values = [7 + 0.1 * math.sin(at / 500) + chance.gauss(0, 0.002) for at in range(3600)]
        values[1234] = 9.5
        log.append_all(
            Entry(
                "R1",
                (
                    Reading(
                        tags["pH/PV"], BEGAN_MS + 1000 * at, value, Quality.GOOD if at < 3000 else Quality.UNCERTAIN
                    ),
                    Reading(tags["Weight/PV"], BEGAN_MS + 1000 * at, 800.0),
                ),
                (Gap(1, (tags["Temperature/PV"],), BEGAN_MS, None, "no reply from unit 3"),) if at == 0 else (),
            )
            for at, value in enumerate(values)
        )
    return plant, values, tags


async def test_picture_shows_extremes_and_what_was_not_good(logged, lms_agent):
    plant, _, _ = logged
    answer = await lms_agent("history", "pH/PV", "--config", plant.config)
    lines = answer.out.splitlines()
    assert answer.code == 0, answer.err
    assert "R1 pH/PV in pH" in lines[0]
    assert len(lines) == 23
    assert max(len(line) for line in lines) <= 80
    assert "greatest 9.50" in lines[-1]
    assert "3600 readings" in lines[-1]
    assert "?" in lines[-3]
    assert "┤" in answer.out


async def test_all_tags_have_a_line_each(logged, lms_agent):
    plant, _, _ = logged
    answer = await lms_agent("history", "-c", plant.config)
    assert answer.code == 0
    names = [line.split()[0] for line in answer.out.splitlines()]
    assert names == ["TAG", "R1", "pH/PV", "Temperature/PV", "Weight/PV"]
    assert max(len(line) for line in answer.out.splitlines()) <= 80


async def test_json_adds_up(logged, lms_agent):
    plant, values, _ = logged
    answer = await lms_agent("history", "R1/pH/PV", "-c", plant.config, "--json")
    (trend,) = answer.json["tags"]
    assert sum(bucket["readings"] for bucket in trend["buckets"]) == trend["readings"] == 3600
    assert max(bucket["maximum"] for bucket in trend["buckets"]) == 9.5
    assert min(bucket["minimum"] for bucket in trend["buckets"]) == min(values)
    assert trend["last"]["value"] == values[-1]
    assert {bucket["worst"] for bucket in trend["buckets"][51:]} == {"UNCERTAIN"}


async def test_missing_time_is_told(logged, lms_agent):
    plant, _, _ = logged
    answer = await lms_agent("history", "Temperature/PV", "-c", plant.config)
    assert answer.code == 0
    assert "nothing was read" in answer.out
    assert "60.0 min missing" in answer.out
    assert "xxxxxxxx" in answer.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("pH/PX",), "perhaps 'pH/PV'"),
        (("--device", "R9"), "no bioreactor 'R9'; it has R1"),
        (("--last", "soon"), "such as 90s"),
        (("--from", "yesterday"), "allowed: an instant"),
        (("--from", "2026-11-25T09:00Z", "--to", "2026-11-25T08:00Z"), "the window is empty"),
    ],
)
async def test_what_cannot_be_meant_is_refused_with_what_can(logged, lms_agent, arguments, words):
    plant, _, _ = logged
    answer = await lms_agent("history", "-c", plant.config, *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert words in answer.err
    assert "Traceback" not in answer.err


def test_log_that_is_not_there_is_told(tmp_path):
    with pytest.raises(Exception, match="no such file"):
        LogReader.open(tmp_path / "none")


def test_window_of_the_reader_is_kept_exactly(logged):
    plant, values, _ = logged
    with LogReader.open(load_settings(plant.config).agent.log) as reader:
        tag = next(tag for tag in reader.tags() if tag.name == "pH/PV")
        (trend,) = gather(reader, [tag], (BEGAN_MS + 10_000, BEGAN_MS + 20_000), 10)
    assert [bucket and (bucket.readings, bucket.minimum) for bucket in trend.buckets] == [
        (1, value) for value in values[10:20]
    ]


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.integers(20, 120), st.integers(5, 40), st.booleans()
)
def test_any_picture_has_the_size_that_was_asked_for(values, width, height, dots):
    steps = steps_for(width, dots=dots)
    trend = Trend(TAG, BEGAN_MS, BEGAN_MS + 3_600_000, [None] * steps)
    for at, value in enumerate(values):
        bucket = trend.buckets[at % steps] = trend.buckets[at % steps] or Bucket()
        bucket.take(value, Quality.GOOD)
    lines = plot(trend, width=width, height=height, dots=dots)
    assert len(lines) == max(height, 5)
    assert max(map(len, lines)) <= width


@given(st.floats(-1e9, 1e9), st.floats(0, 1e9), st.integers(2, 20))
def test_scale_holds_what_it_shows_and_its_labels_fit(least, span, ticks):
    scale = Scale(least, least + span, ticks)
    slack = 1e-6 * max(1.0, abs(least), span)
    assert scale.low <= least + slack
    assert scale.high >= least + span - slack
    assert len(scale.label(scale.high)) <= 8


@pytest.mark.parametrize("hours", [0.01, 0.5, 1, 5, 24, 24 * 7, 24 * 90])
def test_times_below_are_round_and_in_the_window(hours):
    to_ms = BEGAN_MS + round(hours * 3_600_000)
    times = list(round_times(BEGAN_MS, to_ms, 6))
    assert all(BEGAN_MS <= at_ms < to_ms for at_ms, _ in times)
    assert 1 <= len(times) <= 8
    assert all(datetime.fromtimestamp(at_ms / 1000, UTC).microsecond == 0 for at_ms, _ in times)


def test_sparkline_of_nothing_and_of_one_value_is_drawn():
    assert sparkline([None, None], dots=True) == "  "
    bucket = Bucket()
    bucket.take(5.0, Quality.GOOD)
    assert sparkline([bucket, None], dots=True) == "▄ "


def test_what_is_no_number_is_counted_but_not_drawn():
    bucket = Bucket()
    for value in (math.nan, math.inf, None, "text", True):
        bucket.take(value, Quality.BAD)
    assert (bucket.readings, bucket.numbers, bucket.maximum, bucket.worst) == (5, 1, 1.0, Quality.BAD)


def test_table_gives_way_where_words_are_long():
    lines = table([("NAME", "VALUE"), ("a" * 100, "7.00")], width=40, numbers=(1,))
    assert [len(line) for line in lines] == [40, 40]
    assert lines[1].endswith("…   7.00")
