"""What systemd says of the agent's unit.

Source: systemctl(1), `show`; org.freedesktop.systemd1(5) for the names.
"""

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

UNIT = "lms-agent.service"
BOOTED = Path("/run/systemd/system")
"""There if systemd is the init of this computer: sd_booted(3)."""
_WAIT_S = 10.0
_ASKED = (
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "Result",
    "NRestarts",
    "MainPID",
    "StatusText",
    "FragmentPath",
    "ActiveEnterTimestamp",
    "MemoryCurrent",
)


class Unit(NamedTuple):
    """The unit as systemd has it.

    Attributes:
        load: "loaded", "not-found" …
        active, sub: "active" and "running", "failed" and "failed" …
        file_state: "enabled", "disabled", ""…
        result: why it ended last: "success", "exit-code", "watchdog" …
        restarts: how often systemd started it again by itself.
        main_pid: its process; 0 if there is none.
        status: what it last said of itself.
        path: the unit's file.
        since: when it began to run, in systemd's words; "" if it does not.
        memory_bytes: what it takes; None if nobody knows.
    """

    load: str
    active: str
    sub: str
    file_state: str
    result: str
    restarts: int
    main_pid: int
    status: str
    path: str
    since: str
    memory_bytes: int | None

    @property
    def is_known(self) -> bool:
        """Whether there is such a unit."""
        return self.load == "loaded"

    @property
    def starts_at_boot(self) -> bool:
        """Whether it does."""
        return self.file_state in {"enabled", "enabled-runtime", "static", "alias"}


def is_booted() -> bool:
    """Whether this computer runs systemd, and its command is there."""
    return BOOTED.is_dir() and shutil.which("systemctl") is not None


def ask(unit: str = UNIT) -> Unit | None:
    """What systemd says of `unit`; None where there is no systemd."""
    if not is_booted():
        return None
    try:
        answer = subprocess.run(
            ["systemctl", "show", unit, *(f"--property={name}" for name in _ASKED)],
            capture_output=True,
            text=True,
            timeout=_WAIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return unit_of(answer.stdout) if answer.returncode == 0 else None


def unit_of(shown: str) -> Unit:
    """The unit from the lines `NAME=VALUE` of `systemctl show`."""
    told = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    memory = told.get("MemoryCurrent", "")
    return Unit(
        load=told.get("LoadState", "not-found"),
        active=told.get("ActiveState", "inactive"),
        sub=told.get("SubState", ""),
        file_state=told.get("UnitFileState", ""),
        result=told.get("Result", ""),
        restarts=int(told.get("NRestarts") or 0),
        main_pid=int(told.get("MainPID") or 0),
        status=told.get("StatusText", ""),
        path=told.get("FragmentPath", ""),
        since=told.get("ActiveEnterTimestamp", ""),
        memory_bytes=int(memory) if memory.isdigit() and int(memory) < 1 << 60 else None,
    )
