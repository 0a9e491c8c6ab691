"""A bioreactor that shows a recording: tags that were recorded come from it, all others from the process model.

A recording cannot be steered. A set point that somebody writes is shown as written from then on; what was measured
goes on as it was.
"""

from typing import Any

from lms_firmware_sim.errors import StateError
from lms_firmware_sim.process.bioreactor import Cultivation, SimulatedBioreactor
from lms_firmware_sim.replay.recording import Recording


class ReplayedBioreactor(SimulatedBioreactor):
    """A bioreactor with a recording.

    Args:
        cultivation: for what was not recorded.
        recording: what was.
        begins_at_s: when its first reading is shown, seconds since 1970 UTC.
        speed: recorded seconds per second.
        repeats: begin again at its end; else the last values stay.
    """

    def __init__(
        self, cultivation: Cultivation, recording: Recording, *, begins_at_s: float, speed: float, repeats: bool
    ) -> None:
        super().__init__(cultivation)
        self.recording = recording
        self._begins_at_s = begins_at_s
        self._speed = speed
        self._repeats = repeats
        self._now_s = begins_at_s
        self._steered: set[str] = set()

    def advance_to(self, now_s: float) -> None:
        """Go on to now, in the recording and in the model."""
        super().advance_to(now_s)
        self._now_s = max(self._now_s, now_s)

    @property
    def position_s(self) -> float:
        """The present place in the recording, seconds since its first reading."""
        position_s = (self._now_s - self._begins_at_s) * self._speed
        if self._repeats and self.recording.duration_s > 0.0:
            return position_s % self.recording.duration_s
        return position_s

    def reading(self, tag: str) -> float:
        """What was recorded, or else what the model's instrument shows."""
        if tag in self.recording.tracks and tag not in self._steered:
            return self.recording.value(tag, self.position_s)
        return super().reading(tag)

    def write(self, tag: str, value: float) -> None:
        """Write a set point, which from now on is no longer the recorded one."""
        super().write(tag, value)
        self._steered.add(tag)

    def to_json(self) -> dict[str, Any]:
        """With the set points that are no longer the recorded ones."""
        return super().to_json() | {"steered": sorted(self._steered)}

    def restore(self, saved: dict[str, Any]) -> None:
        """The inverse of `to_json`."""
        super().restore(saved)
        steered = saved.get("steered", [])
        if not isinstance(steered, list):
            raise StateError("its set points that were steered are no list")
        self._steered = {str(tag) for tag in steered}
