"""What the bench sees of a running agent: newest value of every tag, its age, gaps, backlog, connection.

It looks at the log (read-only) and at the agent's status file, so it works for another user and without a network.

Neighbours: `lms_agent.log.reader`, `lms_agent.health`; `lms-agent watch` draws it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from lms_protocol.reading import NOT_FOR_SCREENS, Gap, Quality, Reading, TagDescription

from lms_agent.health import is_fresh, read_status
from lms_agent.log.lock import is_written
from lms_agent.log.reader import LogReader, LogStatus
from lms_agent.timekeeping.telling import agent_now_ms


@dataclass(frozen=True, slots=True)
class WatchedTag:
    """One tag as it stands.

    Attributes:
        tag: its description.
        reading: the newest one; None if there is none yet.
        age_s: since it was taken; None without one.
        gap: the open gap that it is in, if any.
    """

    tag: TagDescription
    reading: Reading | None
    age_s: float | None
    gap: Gap | None

    @property
    def part_of_range(self) -> float | None:
        """Where the value lies between low (0) and high (1); may lie outside; None where that makes no sense."""
        low, high, value = self.tag.low, self.tag.high, self.reading.value if self.reading else None
        if low is None or high is None or isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return (value - low) / (high - low)

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        reading = self.reading
        return {
            "tag": self.tag.name,
            "value": None if reading is None else reading.value,
            "unit": self.tag.unit,
            "low": self.tag.low,
            "high": self.tag.high,
            "quality": (Quality.STALE if reading is None else reading.quality).name,
            "taken_at_ms": None if reading is None else reading.taken_at_ms,
            "age_s": None if self.age_s is None else round(self.age_s, 3),
            "gap": None if self.gap is None else self.gap.reason,
        }


@dataclass(frozen=True, slots=True)
class View:
    """Everything at one moment.

    Attributes:
        devices: the tags of each bioreactor, in the order of their numbers.
        held: what the log holds.
        running: whether an agent writes it.
        status: what that agent says of itself; None if it says nothing.
    """

    at_ms: int
    devices: dict[str, list[WatchedTag]]
    held: LogStatus
    running: bool
    status: dict[str, Any] | None

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        broker = self.status["broker"] if self.status else None
        return {
            "at_ms": self.at_ms,
            "running": self.running,
            "batches": self.held.last,
            "acked": self.acked,
            "backlog": self.backlog,
            "broker": broker,
            "clock": self.status.get("clock") if self.status else None,
            "instruments": self.status["instruments"] if self.status else None,
            "alarm": self.alarm or None,
            "log_error": self.status["log"]["error"] if self.status else "",
            "bioreactors": {device: [tag.as_json() for tag in tags] for device, tags in self.devices.items()},
        }

    @property
    def alarm(self) -> str:
        """What is wrong with the log itself; empty if nothing is."""
        if self.status is None:
            return ""
        log = self.status["log"]
        aside = sum(max(0, entry["head"] - entry["acked"]) for entry in log.get("set_aside", ()))
        parts = []
        if log.get("set_aside"):
            parts.append(f"a new log was begun, {aside} batches of the old one to send")
        if log.get("dropped_readings"):
            parts.append(f"{log['dropped_readings']} readings dropped unacknowledged")
        if log.get("full"):
            parts.append("the log is full")
        return "; ".join(parts)

    @property
    def acked(self) -> int:
        """The acknowledged number; the agent knows it a little earlier than the file."""
        told = int(self.status["broker"]["acked"]) if self.status else 0
        return max(self.held.acked, told)

    @property
    def backlog(self) -> int:
        """Batches that the cloud has not acknowledged."""
        return max(0, self.held.last - self.acked)


class Watcher:
    """Follows one log."""

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader
        self._latest = reader.latest()
        self._seen, _ = reader.head()
        self._corrected = len(reader.corrections().rows)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the log for looking.

        Raises:
            LogUnavailable: it cannot be read.
        """
        return cls(LogReader.open(path))

    @property
    def path(self) -> Path:
        """The log."""
        return self._reader.path

    def close(self) -> None:
        """Close the log."""
        self._reader.close()

    def look(self) -> View:
        """What there is now."""
        corrected = len(self._reader.corrections().rows)
        if corrected != self._corrected:
            self._latest, self._corrected = self._reader.latest(), corrected
            self._seen, _ = self._reader.head()
        for batch in self._reader.after(self._seen):
            self._latest.take(batch)
            self._seen = batch.number
        self._latest.keep()
        latest = self._latest.readings
        in_gap = {tag: gap for _, gap in self._reader.open_gaps() for tag in gap.tags}
        path = self._reader.path
        running = is_written(path)
        status = read_status(path) if running else None
        if status is not None and not is_fresh(status):
            status = None
        now_ms = agent_now_ms(status)
        devices: dict[str, list[WatchedTag]] = {}
        for tag in self._reader.tags():
            if tag.name.startswith(NOT_FOR_SCREENS):
                continue
            reading = latest.get(tag.number)
            age_s = None if reading is None else max(0.0, (now_ms - reading.taken_at_ms) / 1000)
            devices.setdefault(tag.device, []).append(WatchedTag(tag, reading, age_s, in_gap.get(tag.number)))
        return View(now_ms, devices, self._reader.status(), running, status)
