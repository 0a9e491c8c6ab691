"""Everything in the agent can be had for a Pi: a wheel for aarch64 and for armv7l, of Debian 12 and of Debian 13.

Read from the lock file, which names every file of every package; nothing is downloaded. The very tags by which
`packaging/deb.py` asks pip for wheels are used here.
"""

import importlib.util
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).parents[2]


def _deb() -> ModuleType:
    spec = importlib.util.spec_from_file_location("deb", ROOT / "packaging" / "deb.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


deb = _deb()


def locked() -> dict[str, dict[str, Any]]:
    """The packages of the lock file, by name."""
    return {package["name"]: package for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}


def of_the_agent(python: str) -> Iterator[str]:
    """The names of what the agent, with all that it may bring, needs on Linux with that Python."""
    command = [ROOT / ".tools/uv/bin/uv", "export", "--quiet", "--locked", "--no-dev", "--no-hashes", "--no-header"]
    command += ["--no-annotate", "--no-emit-workspace", "--package", "lms-agent", "--all-extras"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    for line in answer.stdout.splitlines():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(
            {"sys_platform": "linux", "python_version": python}
        ):
            yield requirement.name


def tags(architecture: str, debian: int) -> set[Tag]:
    """The wheels that run there."""
    release = deb.RELEASES[debian]
    version = tuple(int(part) for part in release.python.split("."))
    platforms = deb.platforms(architecture, release)
    return {*cpython_tags(version, platforms=platforms), *compatible_tags(version, platforms=platforms)}


@pytest.mark.parametrize("debian", deb.RELEASES)
@pytest.mark.parametrize("architecture", ["arm64", "armhf"])
def test_every_package_of_the_agent_has_a_wheel(architecture: str, debian: int) -> None:
    known, wanted = locked(), tags(architecture, debian)
    without = [
        name
        for name in of_the_agent(deb.RELEASES[debian].python)
        if not any(wanted & parse_wheel_filename(_name(wheel))[3] for wheel in known[name].get("wheels", []))
    ]
    assert not without, f"no wheel for {architecture} on Debian {debian}: {', '.join(without)}"


def test_a_package_without_wheels_for_a_pi_would_be_found() -> None:
    """The cloud's driver is one: so it is not in the agent."""
    wheels = locked()["psycopg-binary"]["wheels"]
    found = {
        architecture
        for architecture in ("arm64", "armhf")
        if any(tags(architecture, 12) & parse_wheel_filename(_name(wheel))[3] for wheel in wheels)
    }
    assert found == {"arm64"}


def test_agent_needs_nothing_of_the_cloud_or_the_simulator() -> None:
    heavy = {"numpy", "psycopg", "sqlalchemy", "fastapi", "lms-cloud", "lms-firmware-sim", "pymodbus"}
    assert not heavy & set(of_the_agent("3.11"))


def _name(wheel: dict[str, Any]) -> str:
    return str(wheel["url"]).rpartition("/")[2]
