"""Packages of two versions, and a machine to install them on."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.debian_machine import DebianMachine, debian_machine, lacking

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By version: the package of this release of Debian, older and newer."""
    reason = lacking()
    if reason:
        pytest.skip(f"needs {reason} to build and try a Debian package")
    folder = tmp_path_factory.mktemp("packages")
    older = _built("1.0", folder)
    return {"1.0": older, "1.1": _newer(older, folder, "1.1")}


def _built(version: str, folder: Path) -> Path:
    release = Path("/etc/debian_version").read_text().partition(".")[0]
    if release not in {"12", "13"}:
        pytest.skip("needs Debian 12 or 13 to try the package on")
    answer = subprocess.run(
        [
            *(sys.executable, ROOT / "packaging" / "deb.py"),
            *("--version", version, "--debian", release, "--output", folder),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return Path(answer.stdout.strip())


def _newer(package: Path, folder: Path, version: str) -> Path:
    """The same package under a higher version: building it takes long, and dpkg replaces every file all the same."""
    tree, made = folder / "tree", folder / package.name.replace("_1.0", f"_{version}")
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
    control = tree / "DEBIAN" / "control"
    control.write_text(control.read_text().replace("Version: 1.0", f"Version: {version}"))
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, made], check=True, stdout=subprocess.DEVNULL)
    return made


@pytest.fixture
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DebianMachine]:
    with debian_machine(tmp_path_factory.mktemp("machine")) as booted:
        yield booted
