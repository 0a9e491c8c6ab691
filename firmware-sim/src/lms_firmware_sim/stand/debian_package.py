"""Fetch a program of Debian's archive into a folder of ours, without installing it, with or without root.

The package and those of its libraries that this machine lacks are downloaded with apt and unpacked side by side.
Nothing on the machine changes: no service starts, no user is made, and two checkouts do not disturb each other.
This also works as root, where installing mosquitto would start a broker on port 1883.
See docs/decisions/0022-broker-and-database.md.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from lms_firmware_sim.stand.errors import PackageFetchFailedError, ProgramMissingError

Progress = Callable[[str], None]


def fetch(package: str, into: Path, progress: Progress) -> None:
    """Download ``package`` with the libraries that are missing here, and unpack all into ``into``.

    Raises:
        ProgramMissingError: this machine has no apt.
        PackageFetchFailedError: apt or dpkg-deb said no.
    """
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise ProgramMissingError(
            package, ["PATH", "/usr/sbin", "Debian's archive (no apt-get here)"], f"Install {package} and start again."
        )
    workshop = into.with_name(f"{into.name}.apt")
    shutil.rmtree(workshop, ignore_errors=True)
    shutil.rmtree(into, ignore_errors=True)
    for folder in ("lists/partial", "cache/archives/partial", "packages"):
        (workshop / folder).mkdir(parents=True)
    unpacked = workshop / "unpacked"
    unpacked.mkdir()
    try:
        progress(f"fetching Debian's package lists for {package}")
        _apt(package, workshop, ["update"])
        wanted = _missing_packages(_apt(package, workshop, ["-s", "--no-install-recommends", "install", package]))
        progress(f"downloading {', '.join(name.partition('=')[0] for name in wanted)}")
        _apt(package, workshop, ["download", *wanted])
        for archive in sorted((workshop / "packages").glob("*.deb")):
            _run(package, ["dpkg-deb", "-x", str(archive), str(unpacked)], workshop)
        unpacked.rename(into)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def library_path(unpacked: Path) -> str:
    """The folders of ``unpacked`` with shared libraries, for LD_LIBRARY_PATH."""
    folders = {library.parent for library in unpacked.glob("**/lib/**/*.so*")}
    return os.pathsep.join(str(folder) for folder in sorted(folders))


def _missing_packages(simulation: str) -> list[str]:
    """``name=version`` of the packages that apt would newly install; those here in another version stay as they are."""
    found = re.findall(r"^Inst (\S+) \((\S+) ", simulation, flags=re.MULTILINE)
    return [f"{name}={version}" for name, version in found]


def _apt(package: str, workshop: Path, arguments: Sequence[str]) -> str:
    """Run apt-get on lists and a cache of our own, so that it needs no root and finds no half-used cache."""
    options = {
        "Dir::State::lists": str(workshop / "lists"),
        "Dir::Cache": str(workshop / "cache"),
        "Debug::NoLocking": "1",
        # As root apt would fetch as user _apt, who may not write in our folder.
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
    }
    command = ["apt-get", "-q"]
    for name, value in options.items():
        command += ["-o", f"{name}={value}"]
    return _run(package, [*command, *arguments], workshop / "packages")


def _run(package: str, command: Sequence[str], folder: Path) -> str:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    answer = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise PackageFetchFailedError(package, " ".join(command), answer.stderr[-800:] or answer.stdout[-800:])
    return answer.stdout
