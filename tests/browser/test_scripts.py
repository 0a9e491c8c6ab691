"""The scripts' pure parts: merging without holes, judging by age, and the same words as the server's."""

import itertools
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from lms_cloud.web.pages import wording
from lms_cloud.web.pages.measurements import STALE_AFTER, TagNow, judge

pytestmark = pytest.mark.browser
Script = Callable[..., Any]
NOW_MS = 1_795_456_800_000


def series(*points: tuple[int, Any]) -> dict[str, list[Any]]:
    return {"t": [t for t, _ in points], "v": [v for _, v in points], "q": [192] * len(points)}


def test_merge_keeps_every_point_once_and_in_order(script: Script) -> None:
    merged = script(
        "series.js", "(m, a) => m.merge(a[0], a[1])", [series((1, 1), (3, 3)), series((2, 2), (3, 33), (4, 4))]
    )
    assert (merged["t"], merged["v"]) == ([1, 2, 3, 4], [1, 2, 33, 4])


def test_merge_of_any_two_parts_gives_the_whole(script: Script) -> None:
    chance = random.Random(7)
    for _ in range(30):
        whole = [(t, t * 0.5) for t in sorted(chance.sample(range(1000), chance.randint(1, 60)))]
        ours = [p for p in whole if chance.random() < 0.6]
        theirs = [p for p in whole if p not in ours or chance.random() < 0.3]
        merged = script("series.js", "(m, a) => m.merge(a[0], a[1])", [series(*ours), series(*theirs)])
        assert list(zip(merged["t"], merged["v"], strict=True)) == whole


def test_live_point_that_comes_out_of_order_finds_its_place(script: Script) -> None:
    body = "(m, s) => { m.add(s, 2, 'b', 192); m.add(s, 5, 'e', 192); m.add(s, 5, 'E', 192); return s; }"
    found = script("series.js", body, series((1, "a"), (3, "c")))
    assert (found["t"], found["v"], len(found["q"])) == ([1, 2, 3, 5], ["a", "b", "c", "E"], 4)


def test_trim_keeps_the_point_from_which_the_line_enters(script: Script) -> None:
    found = script("series.js", "(m, s) => { m.trim(s, 25); return s; }", series((10, 1), (20, 2), (30, 3)))
    assert found["t"] == [20, 30]


def test_chart_breaks_the_line_where_nothing_was_read(script: Script) -> None:
    steady = [(t * 1000, 1.0) for t in range(20)] + [(t * 1000, 1.0) for t in range(60, 80)]
    x, y = script("series.js", "(m, s) => m.align([s], [false], false)", series(*steady))
    assert x == sorted(x)
    assert [x[i] for i, value in enumerate(y) if value is None] == [19_001]
    x, y = script("series.js", "(m, s) => m.align([s], [false], false)", series((0, 1.0), (1000, None), (2000, 1.0)))
    assert y == [1.0, None, 1.0]


def test_points_of_many_seconds_stay_joined_beside_single_readings(script: Script) -> None:
    long_ago = [(t * 1000, 1.0) for t in range(0, 9600, 96)]
    lately = [(t * 1000, 1.0) for t in (*range(9600, 9900), *range(9940, 10_240))]
    x, y = script("series.js", "(m, s) => m.align([s], [false], false)", series(*long_ago, *lately))
    assert [x[i] for i, value in enumerate(y) if value is None] == [9_899_001]
    without = [point for point in long_ago if not 3000_000 < point[0] < 6000_000]
    x, y = script("series.js", "(m, s) => m.align([s], [false], false)", series(*without, *lately))
    assert [x[i] for i, value in enumerate(y) if value is None] == [2_976_001, 9_899_001]


def test_pauses_in_thinned_history_are_no_breaks_but_those_after_it_are(script: Script) -> None:
    thinned = {**series(*[(t * 1000, 1.0) for t in (0, 1, 2, 3, 4, 5, 90, 91, 92, 93, 94)]), "told": 94_000}
    later = series(*[(t * 1000, 1.0) for t in (95, 96, 97, 98, 130, 131, 132)])
    body = "(m, a) => m.align([m.merge(a[0], a[1])], [false], false)"
    x, y = script("series.js", body, [thinned, later])
    assert [x[i] for i, value in enumerate(y) if value is None] == [98_001]
    body = "(m, s) => [m.isBrokenAfter(s, 5, 89000), m.isBrokenAfter(s, 10, 150000)]"
    assert script("series.js", body, thinned) == [False, True]


def test_history_that_starts_anew_says_until_when_its_breaks_are_told(script: Script) -> None:
    points = {"t": [1000, 2000], "v": [7.0, None], "q": [192, 0]}
    message = {"tags": [{"id": "1", "name": "pH/PV"}], "series": {"1": points}}
    body = "(m, a) => { const r = new m.Readings(); for (const each of a) r.takeHistory(each); return r.of('pH/PV'); }"
    more = {"t": [9000], "v": [7.1], "q": [192]}
    found = script(
        "readings.js", body, [{**message, "reset": True}, {**message, "reset": False, "series": {"1": more}}]
    )
    assert (found["t"], found["told"]) == ([1000, 2000, 9000], 2000)


def test_chart_lays_series_of_different_times_side_by_side(script: Script) -> None:
    body = "(m, a) => m.align(a, [false, true], false).map((c) => c.map((v) => v === undefined ? 'none' : v))"
    x, first, second = script("series.js", body, [series((0, 1), (2, 3)), series((1, 7))])
    assert (x, first, second) == ([0, 1, 2], [1, "none", 3], ["none", 7, "none"])


NUMBERS: list[tuple[Any, int | None]] = [
    (7.0, 2), (6.999, 2), (-0.001, 2), (-1.5, 1), (1234.5678, 3), (0, 0), (0.0, None), (1234.5678, None), (12, None),
    (0.00123456, None), (1e6, None), (None, 2), (True, None), (False, 0), ("step 3", None),
]  # fmt: skip


def test_numbers_are_written_as_the_server_writes_them(script: Script) -> None:
    found = script("format.js", "(m, a) => a.map(([value, decimals]) => m.number(value, decimals))", NUMBERS)
    assert found == [wording.number(*case) for case in NUMBERS]


def test_ages_are_told_as_the_server_tells_them(script: Script) -> None:
    seconds = [0, 59, 60, 3599, 3600, 12_345, 86_399, 86_400, 400_000]
    found = script("format.js", "(m, a) => a.map((s) => m.age(s * 1000))", seconds)
    assert found == [wording.age(timedelta(seconds=each)) for each in seconds]


def test_readings_are_judged_as_the_server_judges_them(script: Script) -> None:
    now = datetime.fromtimestamp(NOW_MS / 1000, UTC)
    cases = list(itertools.product([7.0, 15.0, -1.0, None], [0, 64, 192, 500], [1, 60]))
    latest = [{"takenAtMs": NOW_MS - age * 1000, "value": value, "quality": q} for value, q, age in cases]
    body = "(m, [latest, limits, stale, now]) => latest.map((l) => m.judge(l, limits, stale, now))"
    found = script("age.js", body, [latest, {"low": 0, "high": 14}, STALE_AFTER.total_seconds() * 1000, NOW_MS])
    for (value, quality, age_s), judged in zip(cases, found, strict=True):
        taken_at = now - timedelta(seconds=age_s)
        tag = TagNow(uuid4(), "pH/PV", low=0.0, high=14.0, value=value, quality=quality, taken_at=taken_at)
        assert (judged["state"], judged["flag"]) == judge(tag, now), (value, quality, age_s)


def test_sparkline_breaks_where_nothing_was_read(script: Script) -> None:
    points = [(t * 1000, 1.0) for t in range(30)] + [(t * 1000, 1.0) for t in range(60, 90)]
    drawn = script("shapes.js", "(m, s) => m.sparkline(s, null, 0, 90000, 0.1)", series(*points))
    assert drawn["line"].count("M") == 2
