"""Sparklines show the trend of the last minutes: means of stretches, broken where nothing was read."""

from uuid import uuid4

from lms_cloud.telemetry.history.shaping import SeriesHistory
from lms_cloud.telemetry.values import TagInfo
from lms_cloud.web.pages.readings_now import _means
from lms_protocol.reading import Datatype

TAG = TagInfo(uuid4(), "pH/PV", "pH", None, None, None, Datatype.DOUBLE, 1)


def test_each_stretch_is_its_mean_and_a_break_stays_one():
    points = [(0, 1.0), (4000, 3.0), (10_000, 5.0), (12_000, None), (15_000, float("nan")), (17_000, 7.0), (20_000, 9)]
    times, values = zip(*points, strict=True)
    trace = _means(SeriesHistory(TAG, list(times), list(values), [192] * len(points)), 10_000)
    assert (trace.at_ms, trace.values) == ([0, 10_000, 12_000, 17_000, 20_000], [2.0, 5.0, None, 7.0, 9.0])
    assert _means(SeriesHistory(TAG), 10_000).at_ms == []
