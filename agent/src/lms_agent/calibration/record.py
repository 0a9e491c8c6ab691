"""One calibration, as it is kept and told: what was measured, by whom, why, and what came of it.

Neighbours: `store.py` keeps it in lines of JSON; the reading of `Events/Calibration` says the same to the cloud.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, NamedTuple, Self

from lms_agent.calibration.fitting import UNCORRECTED, Correction, Point, fit

EVENT_TAG: Final = "Events/Calibration"
DAY_MS: Final = 86_400_000


class Measured(NamedTuple):
    """What was measured against one reference.

    Attributes:
        name: of the reference (`CP1`, `mid`).
        reference: its value, in the tag's unit.
        measured: the mean of the instrument's readings, uncorrected.
        readings: how many.
        drift_per_min: how fast they still moved, a minute.
        stable: whether they were stable; if not, somebody said to go on.
    """

    name: str
    reference: float
    measured: float
    readings: int
    drift_per_min: float
    stable: bool


@dataclass(frozen=True, slots=True)
class Calibration:
    """One calibration.

    Attributes:
        number: 1, 2, 3 … of this agent; the value of the tag `…/Calibration` from then on.
        bioreactor, tag, unit: what was calibrated.
        instrument: its id in the settings.
        kind: who keeps it: the agent corrects what it reads, or the instrument was adjusted.
        at_ms: when, ms UTC.
        points: what was measured; none: back to uncorrected readings.
        slope, offset: value = slope × measured + offset, through the outermost points (agent only, else 1 and 0).
        slope_percent, zero: how much of a difference the probe showed, and what it showed too much at its zero; see
            `judging.py`. None if that cannot be said.
        by, why: who and why, as they said.
        account: the user of the computer whose process asked.
        doubts: what was not plausible, and accepted all the same.
        due_at_ms: when it is to be calibrated again, ms UTC; None: nobody says.
        unconfirmed: whether nobody knows if the instrument has taken it; the tag stays in doubt then.
    """

    number: int
    bioreactor: str
    tag: str
    unit: str
    instrument: str
    kind: Literal["agent", "instrument"]
    at_ms: int
    points: tuple[Measured, ...]
    slope: float
    offset: float
    slope_percent: float | None
    zero: float | None
    by: str
    why: str
    account: str = ""
    doubts: tuple[str, ...] = ()
    due_at_ms: int | None = None
    unconfirmed: bool = False

    @property
    def correction(self) -> Correction:
        """What the agent makes of what it reads.

        Raises:
            CalibrationError: the points are none that can be used; none that were ever kept.
        """
        if self.kind == "instrument" or not self.points:
            return UNCORRECTED
        return fit([Point(point.measured, point.reference) for point in self.points])

    def is_due(self, now_ms: int) -> bool:
        """Whether it should have been calibrated again by now."""
        return self.due_at_ms is not None and now_ms >= self.due_at_ms

    def to_json(self) -> dict[str, Any]:
        """As it is kept and told."""
        return asdict(self) | {"points": [point._asdict() for point in self.points]}

    def to_text(self) -> str:
        """As it stands in a reading of `Events/Calibration`."""
        return json.dumps(self.to_json(), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """What `to_json` told; keys that are not known mean nothing.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        known = {name: data[name] for name in cls.__slots__ if name in data}
        if known["kind"] not in ("agent", "instrument"):
            raise ValueError(f"kind {known['kind']!r}")
        for key, kind in (("number", int), ("at_ms", int), ("bioreactor", str), ("tag", str)):
            if not isinstance(known[key], kind):
                raise TypeError(f"{key} {known[key]!r}")
        return cls(
            **known
            | {
                "points": tuple(Measured(**point) for point in data["points"]),
                "doubts": tuple(map(str, data.get("doubts", ()))),
                "unconfirmed": data.get("unconfirmed") is True,
            }
        )
