"""The simulated plant's part of the demo: its file with our ports in it, its serial lines, and its past."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

from lms_firmware_sim.stand.errors import ServiceFailedError
from lms_firmware_sim.stand.layout import Layout, write_private
from lms_firmware_sim.stand.outside import BrokerAccess
from lms_firmware_sim.stand.programs import plain_environment, program, run
from lms_firmware_sim.stand.spawning import last_words

TCP_WIRES = ("str-1", "str-3")
READY_WITHIN_S = 60.0
LOOK_EVERY_S = 0.1


class PlantSide:
    """The demo's plant.

    Args:
        layout: the demo's folder.
        ports: which port each Modbus TCP wire is served on.
    """

    def __init__(self, layout: Layout, ports: dict[str, int]) -> None:
        self._layout = layout
        self._ports = {wire: ports[wire] for wire in TCP_WIRES}
        self._configuration = layout.simulator / "plant.toml"
        self._wires = layout.simulator / "wires"

    def configure(self) -> None:
        """Write the plant's file: the simulator's own demo plant, with our ports."""
        text = files("lms_firmware_sim").joinpath("plants", "demo.toml").read_text("utf-8")
        for wire, port in self._ports.items():
            head = f'id = "{wire}"\nkind = "modbus-tcp"\n'
            text = text.replace(head, f"{head}port = {port}\n")
        self._configuration.write_text(text, "utf-8")
        if not self._start_mark.exists():
            self._start_mark.write_text(_iso(datetime.now(UTC)))

    def command(self, access: BrokerAccess | None) -> list[str | Path]:
        """The command line that runs the plant.

        Args:
            access: the account under which the simulator tells its true state on the broker; None: it does not.
        """
        command = [*program("lms-sim"), "serve", self._configuration, "--started-at", self._started_at()]
        command += ["--wires-dir", self._wires, "--state-dir", self._layout.simulator]
        if access is not None:
            password_file = self._layout.simulator / "broker.password"
            write_private(password_file, access.password)
            command += ["--mqtt-url", access.url_with_account, "--mqtt-password-file", password_file]
        return command

    def facts(self) -> dict[str, Any]:
        """What the agents' templates ask for: ports and serial lines."""
        ports = {f"{wire.replace('-', '_')}_port": port for wire, port in self._ports.items()}
        return {**ports, "str_2_line": str(self._wires / "str-2"), "str_3_line": str(self._wires / "str-3-balance")}

    def wait_until_ready(self, log_path: Path, began_at: int, alive: Callable[[], bool]) -> None:
        """Wait for the line in which the simulator says that all its wires are laid.

        Args:
            log_path: its log.
            began_at: size of the log, in bytes, before it was started.
            alive: whether it runs.

        Raises:
            ServiceFailedError: it ended, or did not say so in time.
        """
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            told = log_path.read_bytes()
            # A log that is shorter than before was begun anew.
            for line in told[began_at if len(told) >= began_at else 0 :].splitlines():
                if line.startswith(b"{") and json.loads(line).get("ready") is True:
                    return
            if not alive():
                raise ServiceFailedError("The simulator", "ended while starting", log_path, last_words(log_path))
            time.sleep(LOOK_EVERY_S)
        reason = f"did not lay its wires within {READY_WITHIN_S:.0f} s"
        raise ServiceFailedError("The simulator", reason, log_path, last_words(log_path))

    def history(self, bioreactor: str, *, hours: float, period_s: float) -> Path:
        """A CSV file with the last hours of a bioreactor, of the same model and seed as what is served."""
        path = self._layout.simulator / f"history-{bioreactor}.csv"
        until = datetime.now(UTC)
        span = ("--from", _iso(until - timedelta(hours=hours)), "--to", _iso(until), "--period", f"{period_s:g}")
        options = ("--bioreactor", bioreactor, *span, "--started-at", self._started_at(), "--output", path)
        run("lms-sim", "history", self._configuration, *options, environment=plain_environment())
        return path

    def _started_at(self) -> str:
        """When this demo was first started, as ISO 8601: its cultivations are that much older today."""
        return self._start_mark.read_text()

    @property
    def _start_mark(self) -> Path:
        return self._layout.simulator / "started-at"


def _iso(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
