"""One instrument, read once: what people and programs are shown of it.

It holds all that is needed to show it, so that it can be told by a running agent whose settings the reader has not.

Neighbours: `lms_agent.bench.bench` makes it, `lms-agent read` shows it, `lms_agent.service` carries it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from lms_protocol.reading import Datatype, Quality, Value

from lms_agent.drivers.driver import Outcome
from lms_agent.settings import InstrumentSettings


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
    def of(cls, instrument: InstrumentSettings, outcome: Outcome, milliseconds: float) -> Self:
        """What came of reading an instrument with a driver whose tags are numbered by the order of its points."""
        points = instrument.points
        return cls(
            instrument.id,
            instrument.bioreactor,
            tuple(
                Shown(
                    point.tag,
                    reading.value,
                    point.unit,
                    reading.quality,
                    reading.taken_at_ms,
                    point.datatype,
                    point.decimals,
                    outcome.remarks.get(reading.tag, ""),
                )
                for reading in outcome.readings
                for point in (points[reading.tag],)
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
