"""The agents' part of the demo: their configurations, and the hours of history that their logs begin with."""

import json
import shutil
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from lms_firmware_sim.stand.layout import Layout, write_private
from lms_firmware_sim.stand.outside import BrokerAccess
from lms_firmware_sim.stand.programs import plain_environment, program, run


class AgentSide:
    """One agent of the demo.

    Args:
        layout: the demo's folder.
        agent: its id; a template of that name lies beside this module.
    """

    def __init__(self, layout: Layout, agent: str) -> None:
        self._layout = layout
        self.agent = agent
        self.configuration = layout.agents / f"{agent}.toml"

    def configure(self, access: BrokerAccess, facts: dict[str, Any]) -> None:
        """Write its configuration, and its password into a file beside.

        Args:
            access: its account on the broker.
            facts: what else the template asks for: ports, serial lines, wire ids.
        """
        password_file = self._layout.agents / f"{self.agent}.password"
        write_private(password_file, access.password)
        values = {
            **facts,
            "broker_url": access.address,
            "broker_account": access.account,
            "password_file": password_file.name,
        }
        template = files(__package__).joinpath("agents", f"{self.agent}.toml").read_text("utf-8")
        # A JSON string is a TOML string, quotes and backslashes of a path included.
        filled = Template(template).substitute(
            {name: json.dumps(value, ensure_ascii=False) for name, value in values.items()}
        )
        write_private(self.configuration, filled)

    @property
    def has_history(self) -> bool:
        """Whether its log was filled with history once."""
        return self._history_mark.exists()

    def forget_log(self) -> None:
        """Remove a log whose filling was interrupted, so that nothing stands in it twice. It was never sent."""
        for leftover in self._layout.agents.glob(f"{self.agent}.sqlite3*"):
            if leftover.is_dir():
                shutil.rmtree(leftover)
            else:
                leftover.unlink()

    def import_history(self, histories: dict[str, Path]) -> None:
        """Append histories (bioreactor's wire id: CSV file) to its log, to be sent as any backlog."""
        for bioreactor, path in histories.items():
            arguments = ("log", "import", "--config", self.configuration, "--device", bioreactor, path)
            run("lms-agent", *arguments, environment=plain_environment())
        self._history_mark.touch()

    def command(self) -> list[str | Path]:
        """The command line that runs it."""
        return [*program("lms-agent"), "run", "--config", self.configuration]

    @property
    def _history_mark(self) -> Path:
        return self._layout.agents / f"{self.agent}.history-imported"
