"""One instrument, read once: what people and programs are shown of it.

It holds all that is needed to show it, so that it can be told by a running agent whose settings the reader has not.

Neighbours: `lms_agent.bench.bench` makes it, `lms-agent read` shows it, `lms_agent.service` carries it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from lms_protocol.reading import Datatype, Quality, Reading, Value

from lms_agent.calibration.holding import by_holding, holding
from lms_agent.calibration.store import Calibrations
from lms_agent.drivers.driver import Outcome
from lms_agent.settings import InstrumentSettings
from lms_agent.settings.companions import companions_of, datatype_of

UNCALIBRATED = Calibrations()


class Shown(NamedTuple):
    """A value as it was read.

    Attributes:
        taken_at_ms: when the reply came, ms UTC.
        decimals: digits after the point that the instrument really has, where known.
        remark: what the instrument says of it, in words; "" if nothing.
    """

    tag: str
    value: Value
    unit: str
    quality: Quality
    taken_at_ms: int
    datatype: Datatype
    decimals: int | None
    remark: str = ""


class Missing(NamedTuple):
    """Tags that could not be read, and why."""

    tags: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Visit:
    """One instrument, read once; `milliseconds` is how long it took."""

    instrument: str
    bioreactor: str
    readings: tuple[Shown, ...]
    failures: tuple[Missing, ...]
    milliseconds: float

    @classmethod
    def of(
        cls,
        instrument: InstrumentSettings,
        outcome: Outcome,
        milliseconds: float,
        calibrations: Calibrations = UNCALIBRATED,
    ) -> Self:
        """What came of reading an instrument with a driver whose tags are numbered by the order of its points.

        Args:
            calibrations: by which its readings are corrected, as they would be in the log.
        """
        points = instrument.points
        return cls(
            instrument.id,
            instrument.bioreactor,
            tuple(
                shown
                for reading in outcome.readings
                for shown in _all_shown(instrument, reading, outcome.remarks.get(reading.tag, ""), calibrations)
            ),
            tuple(
                Missing(tuple(points[tag].tag for tag in failure.tags), str(failure.error))
                for failure in outcome.failures
            ),
            milliseconds,
        )

    def to_json(self) -> dict[str, Any]:
        """For the door; `from_json` reads it."""
        return {
            "instrument": self.instrument,
            "bioreactor": self.bioreactor,
            "readings": [shown._asdict() | {"value": json_value(shown.value)} for shown in self.readings],
            "failures": [missing._asdict() for missing in self.failures],
            "milliseconds": self.milliseconds,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """What `to_json` told.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        return cls(
            str(data["instrument"]),
            str(data["bioreactor"]),
            tuple(_shown(each) for each in data["readings"]),
            tuple(Missing(tuple(map(str, each["tags"])), str(each["reason"])) for each in data["failures"]),
            float(data["milliseconds"]),
        )


def json_value(value: Value) -> Value:
    """JSON has no NaN and no infinities: they become text."""
    return str(value) if isinstance(value, float) and value - value != 0.0 else value


def value_from_json(value: Any, datatype: Datatype) -> Value:
    """The value that `json_value` made text of, if it did."""
    if datatype in (Datatype.FLOAT, Datatype.DOUBLE) and value is not None:
        return float(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    raise ValueError(f"{value!r} is no {datatype.name}")


def _all_shown(
    instrument: InstrumentSettings, reading: Reading, remark: str, calibrations: Calibrations
) -> Iterator[Shown]:
    """A reading with those beside it: a calibrated value, the one that was read, the calibration's number."""
    index, at_ms, value, quality = reading
    point = instrument.points[index]
    beside = companions_of(point)
    shown = Shown(point.tag, value, point.unit, quality, at_ms, datatype_of(point), point.decimals, remark)
    if beside is None or isinstance(value, bool) or not isinstance(value, int | float):
        yield shown
        return
    holds = holding((instrument.bioreactor, point.tag), point.unit, calibrations)
    value, quality = by_holding(holds, value, quality, corrects=beside.raw is not None)
    yield shown._replace(value=value, quality=quality)
    if beside.raw is not None:
        yield shown._replace(tag=beside.raw, datatype=point.datatype)
    yield Shown(beside.number, holds.number, "", Quality.GOOD, at_ms, Datatype.INT64, None)


def _shown(data: Mapping[str, Any]) -> Shown:
    datatype = Datatype(data["datatype"])
    return Shown(
        str(data["tag"]),
        value_from_json(data["value"], datatype),
        str(data["unit"]),
        Quality(data["quality"]),
        int(data["taken_at_ms"]),
        datatype,
        None if data["decimals"] is None else int(data["decimals"]),
        str(data.get("remark", "")),
    )
