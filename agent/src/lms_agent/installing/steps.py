"""What an installation does, one step after another, each told before it is done.

Every step may be done again: what is there already stays.
"""

import grp
import os
import pwd
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from lms_protocol.errors import LmsError

from lms_agent.installing.systemd import UNIT, is_booted
from lms_agent.installing.unit import STATE, unit_text
from lms_agent.settings import AgentSettings

ACCOUNT, SERIAL_GROUP = "lms-agent", "dialout"
UNIT_FOLDER = Path("/etc/systemd/system")
PACKAGED = Path("/usr/lib/systemd/system")
"""Where the Debian package puts the unit; one of our own would hide what its upgrades bring."""
_HIDDEN = (Path("/home"), Path("/root"), Path("/tmp"), Path("/run/user"))  # noqa: S108 - the unit hides these folders
_WAIT_S = 60.0


class InstallError(LmsError):
    """The service cannot be installed, or a step failed; the message says what to do."""


class Step(NamedTuple):
    """One step.

    Attributes:
        what: for people; "" if it belongs to the step before.
        command: what is run; empty if a file is written instead.
        path, text: that file.
    """

    what: str
    command: tuple[str, ...] = ()
    path: Path | None = None
    text: str = ""

    def as_command(self) -> str:
        """What a person would type."""
        return shlex.join(self.command) if self.command else f"write {self.path}"


def program() -> Path:
    """The `lms-agent` that is running."""
    beside = Path(sys.executable).with_name("lms-agent")
    found = str(beside) if beside.exists() else shutil.which("lms-agent") or sys.argv[0]
    return Path(found).absolute()


def obstacles(settings: AgentSettings, config: Path, agent: Path) -> Iterator[str]:
    """Why the service could not run, as sentences with their remedy; the unit keeps it from seeing some folders."""
    needed = {
        "the program": agent,
        "the configuration": config,
        "the password file": settings.broker.password_file,
        "the log's folder": settings.agent.log.parent,
    }
    for what, path in needed.items():
        hidden = next((folder for folder in _HIDDEN if path.absolute().is_relative_to(folder)), None)
        if hidden is not None:
            better = "/opt/lms-evo" if what == "the program" else STATE if "log" in what else "/etc/lms-evo"
            yield f"{what} {path} lies in {hidden}, which the service cannot see: move it to {better}"


def steps(settings: AgentSettings, config: Path, agent: Path, packaged: Path = PACKAGED) -> list[Step]:
    """Everything that is to be done, in order.

    Args:
        packaged: the folder with the package's unit, which is left to run the agent if it is the right one.
    """
    log_folder, password = settings.agent.log.parent, settings.broker.password_file
    text = unit_text(agent, config, log_folder)
    unit = [
        Step("tell systemd how to run it", path=UNIT_FOLDER / UNIT, text=text),
        Step("have systemd read that", ("systemctl", "daemon-reload")),
    ]
    if (packaged / UNIT).is_file() and (packaged / UNIT).read_text(encoding="utf-8") == text:
        unit = []
    return [
        *_account_steps(),
        *_file_steps(config, password, log_folder),
        *unit,
        Step("start it now and at every boot", ("systemctl", "enable", "--now", UNIT)),
    ]


def _account_steps() -> Iterator[Step]:
    if not _exists(pwd.getpwnam, ACCOUNT):
        command = (
            "useradd",
            "--system",
            "--user-group",
            "--home-dir",
            str(STATE),
            "--shell",
            "/usr/sbin/nologin",
            ACCOUNT,
        )
        yield Step("make the account that it runs as", command)
    if _exists(grp.getgrnam, SERIAL_GROUP) and ACCOUNT not in grp.getgrnam(SERIAL_GROUP).gr_mem:
        yield Step("let it open serial ports", ("usermod", "--append", "--groups", SERIAL_GROUP, ACCOUNT))


def _file_steps(config: Path, password: Path, log_folder: Path) -> Iterator[Step]:
    yield Step("let it read the configuration, and nobody else", ("chown", f"root:{ACCOUNT}", str(config)))
    yield Step("", ("chmod", "0640", str(config)))
    yield Step("let it alone read the broker's password", ("chown", f"{ACCOUNT}:{ACCOUNT}", str(password)))
    yield Step("", ("chmod", "0600", str(password)))
    folder = ("install", "-d", "-o", ACCOUNT, "-g", ACCOUNT, "-m", "0750", str(log_folder))
    yield Step("make the log's folder", folder)


def _exists(look_up: Callable[[str], object], name: str) -> bool:
    try:
        look_up(name)
    except KeyError:
        return False
    return True


def carry_out(step: Step) -> None:
    """Do one step.

    Raises:
        InstallError: it failed.
    """
    try:
        if step.path is not None:
            fresh = step.path.with_name(step.path.name + ".new")
            fresh.write_text(step.text, encoding="utf-8")
            fresh.chmod(0o644)
            fresh.replace(step.path)
            return
        answer = subprocess.run(step.command, capture_output=True, text=True, timeout=_WAIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallError(f"`{step.as_command()}` failed: {error}") from error
    if answer.returncode:
        raise InstallError(f"`{step.as_command()}` failed: {answer.stderr.strip() or answer.stdout.strip()}")


def check_machine() -> None:
    """Make sure that this can be done here.

    Raises:
        InstallError: no systemd, or not root.
    """
    if not is_booted():
        raise InstallError("this computer does not run systemd: start `lms-agent run` with what it has instead")
    if os.geteuid():
        raise InstallError("only root may install a service: `sudo lms-agent service install`")
