"""The cloud's part of the demo: its programs, their settings, and what exists in it from the first start on.

Secrets reach the programs in files and on standard input, never on a command line.
"""

from collections.abc import Mapping
from pathlib import Path

from lms_firmware_sim.stand.layout import Layout, write_private
from lms_firmware_sim.stand.outside import BrokerAccess, as_user
from lms_firmware_sim.stand.programs import plain_environment, run

ORGANIZATION = "Demo organization"
GROUP = "demo-org"
HOST_ID = "lms-cloud"
EMAIL = "demo@lms.example"
LOGINS = {"web": "lms_demo_web", "ingest": "lms_demo_ingest"}
AGENTS = {"agent-1": ("R1", "R2"), "agent-2": ("R3",)}
BIOREACTORS = {"R1": ("STR-1", "7.5"), "R2": ("STR-2", "3"), "R3": ("STR-3", "15")}
"""Wire id: name and volume in litres, as in the simulator's plants/demo.toml."""


class CloudSide:
    """Settings and commands of the demo's cloud.

    Args:
        layout: the demo's folder.
        owner_url: the database, as its owner.
    """

    def __init__(self, layout: Layout, owner_url: str) -> None:
        self._layout = layout
        self._owner_url = owner_url

    def environment(self, purpose: str, access: BrokerAccess, *, port: int) -> dict[str, str]:
        """The environment of ``lms-cloud serve`` (purpose "web") or ``lms-cloud ingest`` (purpose "ingest")."""
        login = LOGINS[purpose]
        settings = {
            **self._settings(as_user(self._owner_url, login, self._layout.secret(login)), login),
            "LMS_MQTT_URL": access.url_with_account,
            "LMS_MQTT_PASSWORD_FILE": str(self._private(f"mqtt-{purpose}", access.password)),
            "LMS_LISTEN": f"127.0.0.1:{port}",
            "LMS_PUBLIC_URL": f"http://127.0.0.1:{port}",
            "LMS_HOST_ID": HOST_ID,
        }
        if purpose == "web":
            settings["LMS_SECRET_KEY_FILE"] = str(self._layout.secret_file("web-secret-key"))
        return {**plain_environment(), **settings}

    def migrate(self) -> None:
        """Bring the database to the newest migration."""
        self.run("migrate")

    def populate(self) -> None:
        """Make the logins of web and ingest, the organization, its user, agents, bioreactors; what is there stays."""
        for purpose, login in LOGINS.items():
            self.run("database-user", purpose, "--name", login, told=self._layout.secret(login))
        self.run("organization", "create", "--name", ORGANIZATION, "--wire-id", GROUP, "--exist-ok")
        self.run(
            *("user", "create", "--email", EMAIL, "--name", "Demo user", "--organization", GROUP, "--role", "owner"),
            "--exist-ok",
            told=self._layout.password("demo-user"),
        )
        for agent, bioreactors in AGENTS.items():
            self.run("agent", "create", "--organization", GROUP, "--wire-id", agent, "--name", agent, "--exist-ok")
            for bioreactor in bioreactors:
                name, volume = BIOREACTORS[bioreactor]
                self.run(
                    *("bioreactor", "create", "--organization", GROUP, "--wire-id", bioreactor, "--name", name),
                    *("--agent", agent, "--kind", "stirred tank", "--volume-l", volume, "--exist-ok"),
                )

    def run(self, *arguments: str, told: str = "") -> str:
        """Run ``lms-cloud`` as the database's owner; give what it printed.

        Args:
            arguments: the command.
            told: what it reads on standard input: a secret.

        Raises:
            CommandFailedError: it ended with an error.
        """
        environment = {**plain_environment(), **self._settings(self._owner_url, "owner")}
        return run("lms-cloud", *arguments, environment=environment, told=told)

    def _settings(self, url: str, whose: str) -> Mapping[str, str]:
        return {"LMS_DATABASE_URL_FILE": str(self._private(f"database-{whose}", url))}

    def _private(self, name: str, text: str) -> Path:
        path = self._layout.root / "secrets" / name
        write_private(path, text)
        return path
