"""Where the broker's program comes from: ``mosquitto`` on this machine, else Debian's package in a folder of ours."""

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lms_firmware_sim.stand import debian_package
from lms_firmware_sim.stand.debian_package import Progress
from lms_firmware_sim.stand.errors import ProgramMissingError, ProgramUnusableError

PLUGIN = "mosquitto_dynamic_security.so"
SYSTEM_FOLDERS = (Path("/usr/sbin"), Path("/usr/local/sbin"))
OLDEST = (2, 0)
REMEDY = "Install mosquitto 2.0 or newer, or name a running broker in LMS_MQTT_URL."


@dataclass(frozen=True)
class BrokerProgram:
    """One installation of mosquitto.

    Attributes:
        program: the broker.
        plugin: its dynamic-security plugin.
        environment: what must be set for it to find its libraries.
        root: folder to copy where the user who runs it could not reach it; None for the system's own.
    """

    program: Path
    plugin: Path
    environment: dict[str, str] = field(default_factory=dict)
    root: Path | None = None


def find(tools: Path, progress: Progress) -> BrokerProgram:
    """The system's mosquitto if it is new enough and has the plugin, else Debian's, fetched into ``tools`` once.

    Raises:
        ProgramMissingError: there is none, and no apt to fetch it with.
        PackageFetchFailedError: apt could not fetch it.
        ProgramUnusableError: the fetched one does not run here.
    """
    installed = _installed()
    if installed is not None:
        return installed
    unpacked = tools / "mosquitto"
    tools.mkdir(parents=True, exist_ok=True)
    with _alone(tools / "mosquitto.lock"):
        if (unpacked / "usr/sbin/mosquitto").exists():
            try:
                return _unpacked(unpacked)
            except ProgramUnusableError:
                progress("the mosquitto fetched before does not run here any more; fetching it again")
        debian_package.fetch("mosquitto", unpacked, progress)
        return _unpacked(unpacked)


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Let one process at a time fetch; test workers start side by side."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _installed() -> BrokerProgram | None:
    on_path = shutil.which("mosquitto")
    candidates = [Path(on_path)] if on_path else []
    candidates += [folder / "mosquitto" for folder in SYSTEM_FOLDERS]
    for program in candidates:
        if program.exists() and (_version(program, {}) or (0, 0)) >= OLDEST:
            plugin = _plugin_beside(program)
            if plugin is not None:
                return BrokerProgram(program, plugin)
    return None


def _unpacked(folder: Path) -> BrokerProgram:
    program = folder / "usr/sbin/mosquitto"
    environment = {"LD_LIBRARY_PATH": debian_package.library_path(folder)}
    plugin = next(folder.glob(f"usr/lib/**/{PLUGIN}"), None)
    if plugin is None:
        raise ProgramMissingError(PLUGIN, [str(folder)], REMEDY)
    version = _version(program, environment)
    if version is None or version < OLDEST:
        raise ProgramUnusableError(program, "it does not start, or is older than 2.0", REMEDY)
    return BrokerProgram(program, plugin, environment, folder)


def _plugin_beside(program: Path) -> Path | None:
    prefix = program.resolve().parent.parent
    folders = [prefix / "lib", prefix / "lib64", *sorted((prefix / "lib").glob("*-linux-*"))]
    return next((folder / PLUGIN for folder in folders if (folder / PLUGIN).exists()), None)


def _version(program: Path, environment: dict[str, str]) -> tuple[int, int] | None:
    try:
        answer = subprocess.run(
            [program, "-h"], capture_output=True, text=True, check=False, env={**os.environ, **environment}
        )
    except OSError:
        return None
    found = re.search(r"mosquitto version (\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else None


def copied(program: BrokerProgram, spare: Path) -> BrokerProgram:
    """A copy in ``spare`` of a program that its user could not reach (1 MB)."""
    if program.root is None:
        return program
    shutil.rmtree(spare, ignore_errors=True)
    shutil.copytree(program.root, spare, symlinks=True)
    spare.chmod(0o755)
    return _unpacked(spare)
