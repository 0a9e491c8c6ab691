"""Stored numbers and texts back as the values that the agent read, and tags as people see them.

The inverse of `lms_cloud.telemetry.columns`; used by history and latest values.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from lms_protocol.reading import Datatype, Value

INTEGERS = frozenset({Datatype.INT64, Datatype.UINT64})


@dataclass(frozen=True, slots=True)
class TagInfo:
    """A tag as a reading's neighbour: enough to show the reading.

    Attributes:
        series: its series number; None before any birth told of it.
        held: its value holds until the next one, as a set point does: no pause of the readings is a hole.
    """

    id: UUID
    name: str
    unit: str
    low: float | None
    high: float | None
    decimals: int | None
    datatype: Datatype
    series: int | None
    held: bool = False

    @classmethod
    def from_row(cls, id_: UUID, name: str, properties: dict[str, Any], series: int | None) -> "TagInfo":
        """From an entity's id, name and properties."""
        return cls(
            id_,
            name,
            properties.get("unit", ""),
            properties.get("low"),
            properties.get("high"),
            properties.get("decimals"),
            Datatype[properties.get("datatype", "double").upper()],
            series,
            properties.get("access") == "write",
        )

    def as_json(self) -> dict[str, Any]:
        """As REST and WebSocket show it."""
        return {
            "id": str(self.id),
            "name": self.name,
            "unit": self.unit,
            "low": self.low,
            "high": self.high,
            "decimals": self.decimals,
            "datatype": self.datatype.name.lower(),
        }


def read_value(datatype: Datatype, number: float | None, text: str | None) -> Value:
    """The value that `columns` stored as a number or a text.

    A tag that changed its data type keeps its older readings as they were: what is no whole number stays one that is
    not, whatever the tag is now.
    """
    if text is not None:
        return int(text) if datatype in INTEGERS and text.lstrip("-").isdecimal() else text
    if number is None:
        return None
    if datatype is Datatype.BOOLEAN and number in (0.0, 1.0):
        return bool(number)
    if datatype in INTEGERS and number.is_integer():
        return int(number)
    return number
