"""Points: one tag each. How an instrument is asked for it is each dialect's own: `lms_agent.settings.dialects`."""

from collections.abc import Iterator
from typing import Literal

from lms_protocol.checked_toml.findings import Checked, Wrong
from lms_protocol.instruments.calibration import Procedure
from lms_protocol.instruments.points import TagName
from lms_protocol.reading import Datatype
from pydantic import Field

_NO_NUMBERS = {Datatype.BOOLEAN: "bool is true or false", Datatype.STRING: "text is no quantity"}


class Point(Checked):
    """What all points have: the tag, and what people need to know of its values.

    `low` and `high` are the normal range, shown beside the value. `minimum` and `maximum` are what the instrument can
    measure at all: a value outside is kept and flagged UNCERTAIN. So is one that changes faster than `max_rate_per_s`
    or has not changed for `stuck_after_s`. With a `dead_band` a value that changes by no more than that is logged once
    in `heartbeat_s` only.

    A point with `access = "write"` may be set between `set_low` and `set_high`, by at most `set_step` at a time, and
    not again within `set_interval_s`.
    """

    tag: TagName
    unit: str = Field("", max_length=32)
    low: float | None = None
    high: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    decimals: int | None = Field(None, ge=0, le=15)
    access: Literal["read", "write"] = "read"
    max_rate_per_s: float | None = Field(None, gt=0)
    stuck_after_s: float | None = Field(None, gt=0)
    dead_band: float | None = Field(None, ge=0)
    heartbeat_s: float | None = Field(None, gt=0)
    set_low: float | None = None
    set_high: float | None = None
    set_step: float | None = Field(None, gt=0)
    set_interval_s: float | None = Field(None, ge=0)

    @property
    def set_range(self) -> tuple[float | None, float | None]:
        """Between what it may be set. Each end as it says; else of what it can measure; else of its normal range."""
        lows, highs = (self.set_low, self.minimum, self.low), (self.set_high, self.maximum, self.high)
        return next((low for low in lows if low is not None), None), next((h for h in highs if h is not None), None)

    @property
    def datatype(self) -> Datatype:
        """The Sparkplug type that holds every value of this point exactly."""
        raise NotImplementedError

    def _contradictions(self) -> Iterator[Wrong]:
        yield from super()._contradictions()
        for lower, upper in (("low", "high"), ("minimum", "maximum"), ("set_low", "set_high")):
            a, b = getattr(self, lower), getattr(self, upper)
            if a is not None and b is not None and not a < b:
                yield upper, f"{b:g}", f"more than {lower} = {a:g}"
        for key in ("max_rate_per_s", "stuck_after_s"):
            if self.datatype in _NO_NUMBERS and getattr(self, key) is not None:
                yield key, f"{getattr(self, key):g}", f"only with a number: a {_NO_NUMBERS[self.datatype]}"
        if self.heartbeat_s is not None and self.dead_band is None:
            yield "heartbeat_s", f"{self.heartbeat_s:g}", "only with a dead_band: without one every reading is logged"
        for key in ("set_low", "set_high", "set_step", "set_interval_s"):
            value = getattr(self, key)
            if value is not None and self.access == "read":
                yield key, f"{value:g}", 'only with access = "write": this point is only read'


class InstrumentPoint(Point):
    """What all points of instruments have besides, if the instrument has a profile.

    `point` is its name there; `calibration`, how it is calibrated, comes with it.
    """

    point: str | None = None
    calibration: Procedure | None = None
