"""That an instrument is about to adjust itself: written down before it is told, so that nobody can miss that it did.

    begun        on the disk before anything of a reference is sent
    withdrawn    the instrument has certainly not taken it
    calibration  of the tag: says what came of all that was begun before, unless that is not known

Whoever dies in between (the command, its terminal, the agent, the computer) leaves a begun one behind, and readings of
its tag are in doubt until the next calibration: the number beside them is of an adjustment that may hold no longer.

Neighbours: `store.py` keeps them among the calibrations; `at_bench.py` and `keeping.py` write them.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple, Self

BEGUN: Final = "begun"
WITHDRAWN: Final = "withdrawn"


class Adjusting(NamedTuple):
    """One reference that an instrument is told.

    Attributes:
        state: `BEGUN` or `WITHDRAWN`.
        bioreactor, tag: what it measures.
        reference: its name (`CP1`, `mid`).
        value: of the reference, in the tag's unit; None: the one that the procedure says.
        at_ms: when, ms UTC.
        account: the user of the computer whose process asked.
    """

    state: str
    bioreactor: str
    tag: str
    reference: str
    value: float | None
    at_ms: int
    account: str

    def is_about(self, other: "Adjusting") -> bool:
        """Whether both are the same reference of the same tag."""
        return (self.bioreactor, self.tag, self.reference) == (other.bioreactor, other.tag, other.reference)

    def __str__(self) -> str:
        """For people."""
        value = "" if self.value is None else f" = {self.value:g}"
        at = f"{datetime.fromtimestamp(self.at_ms / 1000).astimezone():%Y-%m-%d %H:%M}"
        return f"{self.reference}{value}, {at}, by {self.account}"

    def to_json(self) -> dict[str, Any]:
        """As it is kept and told."""
        return {"adjusting": self.state} | {name: getattr(self, name) for name in self._fields[1:]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """What `to_json` told; keys that are not known mean nothing.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        if data["adjusting"] not in (BEGUN, WITHDRAWN):
            raise ValueError(f"adjusting {data['adjusting']!r}")
        value = None if data["value"] is None else float(data["value"])
        bioreactor, tag, reference, account = (
            str(data[name]) for name in ("bioreactor", "tag", "reference", "account")
        )
        return cls(data["adjusting"], bioreactor, tag, reference, value, int(data["at_ms"]), account)
