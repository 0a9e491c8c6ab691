"""Tags that belong together (process value, set point, output) as one measurement, ready to be shown.

Before it: the tags and latest readings of fleet and telemetry, as `TagNow`. After it: cards.py and the templates
components/measurement.html and partials/tag_tiles.html; static/js/tiles.js keeps what they drew up to date.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from lms_protocol.reading import NOT_FOR_SCREENS, Quality, Value

from lms_cloud.web.pages import wording
from lms_cloud.web.pages.shapes import RangeBar, Sparkline, Trace, range_bar, sparkline

STALE_AFTER = timedelta(seconds=15)
"""A reading older than this is shown as stale. Instruments are read about once a second, slow ones every five."""

SPARK_MINUTES = 10
"""How much time a sparkline shows."""

_ORDER = ("pH", "DO", "Temperature", "Agitation", "AirFlow", "Pressure", "OffGasO2", "OffGasCO2", "Weight")
_SUFFIXES = ("PV", "SP", "OUT")
_BESIDE = ("RAW", "Calibration")


@dataclass(frozen=True, slots=True)
class TagNow:
    """A tag and its latest reading; value, quality and time are ``None`` before the first one."""

    id: UUID
    name: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    decimals: int | None = None
    value: Value = None
    quality: int | None = None
    taken_at: datetime | None = None

    @property
    def text(self) -> str:
        """The value as shown, without its unit."""
        return wording.number(self.value, self.decimals)

    @property
    def figure(self) -> float | None:
        """The value where it is a number that can be drawn."""
        return float(self.value) if isinstance(self.value, int | float) and not isinstance(self.value, bool) else None


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a tile or a card's key value shows.

    Attributes:
        name: the tags' common first part, such as ``pH``.
        main: the process value, or the only tag there is.
        state: ``fresh``, ``stale``, ``absent``, ``outside`` or ``doubtful``.
        flag: the state in words; empty when fresh.
    """

    name: str
    label: str
    main: TagNow
    set: TagNow | None
    out: TagNow | None
    state: str
    flag: str
    range: RangeBar | None
    spark: Sparkline | None
    stale_after_s: int = int(STALE_AFTER.total_seconds())

    @property
    def state_class(self) -> str:
        """The style class of the state."""
        return "" if self.state == "fresh" else f"is-{self.state}"

    @property
    def number(self) -> str:
        """The process value in the instrument's precision."""
        return self.main.text

    @property
    def unit(self) -> str:
        """The process value's unit."""
        return self.main.unit

    @property
    def taken_at(self) -> datetime | None:
        """When the process value was read."""
        return self.main.taken_at

    @property
    def set_number(self) -> str:
        """The set point in the instrument's precision."""
        return self.set.text if self.set else ""

    @property
    def out_number(self) -> str:
        """The output in the instrument's precision."""
        return self.out.text if self.out else ""

    @property
    def low(self) -> str:
        """The lower limit as shown at the bar's end."""
        return wording.number(self.main.low, None)

    @property
    def high(self) -> str:
        """The upper limit as shown at the bar's end."""
        return wording.number(self.main.high, None)


def measurements(
    tags: Iterable[TagNow], now: datetime, traces: Mapping[UUID, Trace] | None = None
) -> list[Measurement]:
    """Group tags into measurements: the loops that matter most first, the rest by name.

    What stands beside a calibrated value (its raw value, the calibration's number) and events are no measurements.

    Args:
        tags: of one bioreactor.
        now: aware time of showing; ages are told from it.
        traces: points of the last minutes by tag id, for the sparklines.
    """
    groups: dict[str, dict[str, TagNow]] = {}
    tags = list(tags)
    names = {tag.name for tag in tags}
    for tag in tags:
        name, _, suffix = tag.name.rpartition("/")
        if tag.name.startswith(NOT_FOR_SCREENS) or (suffix in _BESIDE and not names.isdisjoint((name, f"{name}/PV"))):
            continue
        if not name or suffix not in _SUFFIXES:
            name, suffix = tag.name, "PV"
        groups.setdefault(name, {})[suffix] = tag
    made = [_measurement(name, parts, now, traces or {}) for name, parts in groups.items()]
    return sorted(made, key=lambda m: (_ORDER.index(m.name) if m.name in _ORDER else len(_ORDER), m.name))


def _measurement(name: str, parts: Mapping[str, TagNow], now: datetime, traces: Mapping[UUID, Trace]) -> Measurement:
    main = next(parts[suffix] for suffix in _SUFFIXES if suffix in parts)
    set_point = parts.get("SP") if main is not parts.get("SP") else None
    output = parts.get("OUT") if main is not parts.get("OUT") else None
    state, flag = judge(main, now)
    limits = _limits(main)
    bar = range_bar(main.figure, set_point.figure if set_point else None, *limits) if limits else None
    return Measurement(
        name=name,
        label=wording.label(name),
        main=main,
        set=set_point,
        out=output,
        state=state,
        flag=flag,
        range=bar,
        spark=_spark(main, set_point, limits, now=now, traces=traces),
    )


def _limits(tag: TagNow) -> tuple[float, float] | None:
    if tag.low is None or tag.high is None or tag.high <= tag.low:
        return None
    return tag.low, tag.high


def _spark(
    main: TagNow,
    set_point: TagNow | None,
    limits: tuple[float, float] | None,
    *,
    now: datetime,
    traces: Mapping[UUID, Trace],
) -> Sparkline | None:
    trace = traces.get(main.id)
    if trace is None:
        return None
    end_ms = round(now.timestamp() * 1000)
    set_trace = traces.get(set_point.id) if set_point else None
    return sparkline(trace, set_trace, end_ms - SPARK_MINUTES * 60_000, end_ms, _least_span(main, limits))


def _least_span(tag: TagNow, limits: tuple[float, float] | None) -> float:
    """The smallest height of a sparkline in the tag's unit, so that noise in the last digits is not an event."""
    if tag.decimals is not None:
        return 20 * 10.0**-tag.decimals
    return (limits[1] - limits[0]) / 20 if limits else 0.0


def judge(tag: TagNow, now: datetime) -> tuple[str, str]:
    """Say in what state a tag's latest reading is, and the words for it.

    Worst first: an old reading says nothing about now, whatever its quality was; then a missing value; then a value
    outside the normal range; then one that the instrument itself doubts.
    """
    if tag.taken_at is None:
        return "absent", "no reading"
    if now - tag.taken_at > STALE_AFTER:
        return "stale", f"stale {wording.age(now - tag.taken_at)}"
    if tag.value is None or tag.quality == Quality.BAD:
        return "absent", "no reading"
    if tag.quality == Quality.STALE:
        return "stale", "stale"
    if tag.figure is not None and tag.high is not None and tag.figure > tag.high:
        return "outside", "above range"
    if tag.figure is not None and tag.low is not None and tag.figure < tag.low:
        return "outside", "below range"
    if tag.quality == Quality.UNCERTAIN:
        return "doubtful", "uncertain"
    return "fresh", ""


def default_choice(made: Sequence[Measurement]) -> list[str]:
    """Names of the tags that the trend shows when nobody has chosen: the first three loops with their set points."""
    return [tag.name for m in made[:3] for tag in (m.main, m.set) if tag is not None]
