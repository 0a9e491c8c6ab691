"""How the agent does, for people at the bench and for systemd.

Every two seconds a small file beside the log is replaced (`<log>.status.json`): `lms-agent watch` and `lms-agent log`
read it, also as another user, and nothing has to listen on a port.

Neighbours: `lms_agent.log.keeping` and `lms_agent.sending` keep the numbers; `lms_agent.notify` tells systemd.
"""

import asyncio
import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lms_protocol.reading import Batch, Gap

from lms_agent.calibration.keeping import CalibrationKeeping
from lms_agent.commands import Commands
from lms_agent.log.keeping import KeepingState
from lms_agent.log.schema import FILE_MODE
from lms_agent.log.sqlite_log import SqliteLog
from lms_agent.notify import Notifier
from lms_agent.reloading import Reloading
from lms_agent.sampling import Sampling
from lms_agent.sending.state import SendingState
from lms_agent.timekeeping.telling import agent_now_ms, needs_attention, sentence
from lms_agent.timekeeping.timekeeper import Timekeeper

LOGGER = logging.getLogger(__name__)

EVERY_S = 2.0
"""Between two statuses. Each costs a rename on the disk, which on an SD card is work and wear, and a tenth of what the
agent computes at 50 tags a second."""
STALE_AFTER_MS = 10_000
"""A status older than this is not from a running agent."""


def status_path(log_path: Path) -> Path:
    """The status file of a log."""
    return log_path.with_name(log_path.name + ".status.json")


def read_status(log_path: Path) -> dict[str, Any] | None:
    """What the agent last said of itself; None if it never did, or not readably."""
    try:
        data = json.loads(status_path(log_path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def is_fresh(status: Mapping[str, Any]) -> bool:
    """Whether a status is from an agent that is alive."""
    return agent_now_ms(status) - int(status.get("written_at_ms", 0)) < STALE_AFTER_MS


@dataclass(slots=True)
class InstrumentState:
    """How an instrument does.

    Attributes:
        failures: how often it fell silent or answered wrongly since the start.
        failing_since_ms: since when it does now, ms UTC; None while it is well.
        reason: of the last failure.
    """

    failures: int = 0
    failing_since_ms: int | None = None
    reason: str = ""


class InstrumentHealth:
    """Follows the gaps in what is logged, and says which instrument they belong to.

    Args:
        instruments: the instrument's id by tag number.
        open_gaps: those that were open when the log was opened.
    """

    def __init__(self, instruments: Mapping[int, str], open_gaps: Iterable[Gap] = ()) -> None:
        self._instruments = dict(instruments)
        self._open: dict[int, Gap] = {}
        self.states = {instrument: InstrumentState() for instrument in self._instruments.values()}
        for gap in open_gaps:
            self._take(gap)

    def appended(self, batch: Batch) -> None:
        """Look at a batch that is in the log."""
        for gap in batch.gaps:
            self._take(gap)

    def _take(self, gap: Gap) -> None:
        known = self._open.pop(gap.id, None)
        if gap.ended_at_ms is None:
            self._open[gap.id] = gap
        for name in {self._instruments[tag] for tag in gap.tags if tag in self._instruments}:
            state = self.states[name]
            if known is None and gap.ended_at_ms is None:
                state.failures += 1
                state.reason = gap.reason
            state.failing_since_ms = min(
                (
                    open_gap.began_at_ms
                    for open_gap in self._open.values()
                    if any(self._instruments.get(tag) == name for tag in open_gap.tags)
                ),
                default=None,
            )


class Health:
    """Writes the status, and tells systemd.

    Args:
        about: what does not change: ids, address of the broker.
    """

    def __init__(
        self,
        *,
        about: Mapping[str, object],
        log: SqliteLog,
        keeping: KeepingState,
        sending: SendingState,
        instruments: InstrumentHealth,
        sampling: Sampling,
        clock: Timekeeper,
        commands: Commands,
        calibrations: CalibrationKeeping,
        reloading: Reloading,
        notifier: Notifier,
    ) -> None:
        self._commands = commands
        self._calibrations = calibrations
        self._reloading = reloading
        self._sampling = sampling
        self._about = dict(about)
        self._log = log
        self._keeping = keeping
        self._sending = sending
        self._instruments = instruments
        self._clock = clock
        self._notifier = notifier
        self._started_at_ms = clock.wall_ms()
        self._told_failure = False
        self._told_stuck: list[str] = []
        log.listen(self._appended, late=True)

    def follow(self, *, url: str, sending: SendingState, instruments: InstrumentHealth, sampling: Sampling) -> None:
        """New settings are taken over: these parts are looked at from now on, and `url` is the broker's address."""
        self._about["url"] = url
        self._sending = sending
        self._instruments = instruments
        self._sampling = sampling

    def _appended(self, batch: Batch) -> None:
        self._instruments.appended(batch)

    def status(self) -> dict[str, Any]:
        """Everything, as it is written to the file. Times in ms UTC."""
        return {
            "v": 1,
            **self._about,
            "pid": os.getpid(),
            "started_at_ms": self._started_at_ms,
            "written_at_ms": self._clock.wall_ms(),
            "log": {
                "path": str(self._log.path),
                "stream": str(self._log.stream),
                "head": self._log.head,
                **asdict(self._keeping),
                **asdict(self._log.retention),
                "policy": self._log.limits.as_text(),
                "set_aside": [asdict(entry) for entry in self._log.predecessors.values() if entry.is_open],
            },
            "clock": asdict(self._clock.state),
            "broker": asdict(self._sending),
            "commands": self._commands.state,
            "calibrations": self._calibrations.state(),
            "settings_refused": self._reloading.refused,
            "instruments": {name: asdict(state) for name, state in self._instruments.states.items()},
        }

    def sentence(self) -> str:
        """The status in a line."""
        failing = sorted(name for name, state in self._instruments.states.items() if state.failing_since_ms is not None)
        parts = [f"{self._keeping.readings} readings", f"{self._sending.unacknowledged} batches to acknowledge"]
        parts.append("sending" if self._sending.born else "not sending")
        clock = asdict(self._clock.state)
        if needs_attention(clock):
            parts.append(sentence(clock))
        if failing:
            parts.append(f"failing: {', '.join(failing)}")
        if self._commands.locks:
            parts.append(f"locked at the bench: {', '.join(sorted(self._commands.locks))}")
        calibrations = self._calibrations.state()
        if calibrations["overdue"]:
            parts.append(f"calibration overdue: {', '.join(calibrations['overdue'])}")
        if calibrations["in_doubt"]:
            parts.append(f"CALIBRATION IN DOUBT: {', '.join(calibrations['in_doubt'])}")
        aside = sum(entry.unacknowledged for entry in self._log.predecessors.values())
        if aside:
            parts.append(f"A NEW LOG WAS BEGUN, {aside} batches of the old one to send")
        if self._log.retention.dropped_readings:
            parts.append(f"{self._log.retention.dropped_readings} READINGS DROPPED UNACKNOWLEDGED")
        if self._reloading.refused:
            parts.append("NEW SETTINGS NOT TAKEN OVER, older ones hold")
        if self._keeping.error:
            parts.append("THE LOG CANNOT BE WRITTEN")
        return "; ".join(parts)

    async def run(self) -> None:
        """Write the status again and again, until cancelled.

        While reading hangs, systemd hears no sign of life, and in the end starts the agent anew. A disk that takes its
        time with the status file is no reason for that: readings wait in memory, and would be lost.
        """
        writing = asyncio.ensure_future(asyncio.to_thread(self.write))
        try:
            while True:
                self._give_sign()
                await self._clock.sleep(EVERY_S)
                if writing.done():
                    writing.result()
                    writing = asyncio.ensure_future(asyncio.to_thread(self.write))
        finally:
            await asyncio.wait((writing,))  # two threads must not write it at once

    def _give_sign(self) -> None:
        """Tell systemd that all is well, unless reading hangs."""
        stuck = self._sampling.stuck()
        if not stuck:
            self._notifier.alive(self.sentence())
        elif stuck != self._told_stuck:
            LOGGER.critical("Reading hangs (%s); systemd gets no more signs of life", ", ".join(stuck))
        self._told_stuck = stuck

    def write(self) -> None:
        """Replace the status file. A disk that refuses is the log's to complain about."""
        path = status_path(self._log.path)
        fresh = path.with_name(path.name + ".new")
        text = json.dumps(self.status(), ensure_ascii=False)  # `dump` encodes in Python, three times as slowly
        try:
            with os.fdopen(
                os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE), "w", encoding="utf-8"
            ) as file:
                file.write(text)
            fresh.replace(path)
            self._told_failure = False
        except OSError as error:
            if not self._told_failure:
                LOGGER.warning("The status file %s cannot be written: %s", path, error.strerror)
            self._told_failure = True
