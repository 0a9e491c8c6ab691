"""Where the demo keeps what: one folder, ``.demo``, with its secrets readable by nobody else.

.demo/                 0711: the user whom PostgreSQL drops to passes through, and lists nothing
├── demo.json          what was made up: address, login, process numbers (0600)
├── ports.json         which ports to take again at the next start
├── lock               held while a demo runs; names its process
├── secrets/           0700, a file per secret, each 0600
├── agents/            0700, each agent's configuration and log
├── simulator/         0700, the simulator's configuration and serial lines
├── logs/              0700, what each process said
├── postgres/          PostgreSQL's data (or a note where it is, see ``quarters``)
└── broker/            the broker's accounts
"""

import fcntl
import json
import os
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lms_firmware_sim.stand.errors import DemoRunningError

LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"
"""Without look-alikes: 0 and o, 1, l and i."""


@dataclass(frozen=True)
class Layout:
    """The demo's folder and the places in it."""

    root: Path

    @property
    def description(self) -> Path:
        """demo.json: what other programs need to know about the running demo."""
        return self.root / "demo.json"

    @property
    def agents(self) -> Path:
        """Configurations and logs of the agents."""
        return self.root / "agents"

    @property
    def simulator(self) -> Path:
        """The simulator's configuration and serial lines."""
        return self.root / "simulator"

    @property
    def ports(self) -> Path:
        """The ports of the last start."""
        return self.root / "ports.json"

    def log(self, name: str) -> Path:
        """The log of one process."""
        return self.root / "logs" / f"{name}.log"

    def make(self) -> None:
        """Make the folders, with their modes."""
        self.root.mkdir(mode=0o711, parents=True, exist_ok=True)
        self.root.chmod(0o711)
        for name in ("secrets", "agents", "simulator", "logs"):
            (self.root / name).mkdir(mode=0o700, exist_ok=True)

    def secret_file(self, name: str) -> Path:
        """The file (0600) with a secret for programs, 256 bits; made up at the first time, the same ever after."""
        return self._kept(name, secrets.token_urlsafe(32))

    def secret(self, name: str) -> str:
        """What is in ``secret_file(name)``."""
        return self.secret_file(name).read_text()

    def password(self, name: str) -> str:
        """A secret that somebody may have to type: 20 letters without look-alikes, 98 bits."""
        groups = ("".join(secrets.choice(LETTERS) for _ in range(5)) for _ in range(4))
        return self._kept(name, "-".join(groups)).read_text()

    def _kept(self, name: str, fresh: str) -> Path:
        path = self.root / "secrets" / name
        if not path.exists():
            write_private(path, fresh)
        return path

    def hold(self) -> int:
        """Take the demo's lock for as long as this process lives; give its file descriptor.

        Raises:
            DemoRunningError: another process has it.
        """
        descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.pread(descriptor, 20, 0).decode().strip() or "0"
            os.close(descriptor)
            raise DemoRunningError(int(pid), self.root) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return descriptor


def write_private(path: Path, text: str) -> None:
    """Write a file that only we may read, whole or not at all: a reader sees the old text or the new."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    fresh = Path(name)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        fresh.rename(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def write_description(path: Path, facts: dict[str, Any]) -> None:
    """Write ``facts`` as JSON for people and programs."""
    write_private(path, json.dumps(facts, indent=2) + "\n")
