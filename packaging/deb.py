"""Build the agent's Debian package: an environment of its own in /opt/lms-evo, the unit, a system user.

    uv.lock ─► wheels of the wanted architecture ─► /opt/lms-evo/lib ─┐
    protocol/, agent/ ─► wheels ────────────────────────────────────┼─► dpkg-deb ─► dist/lms-agent_….deb
    packaging/debian/ ─► maintainer scripts; the unit; the example ─┘

Nothing is compiled and nothing of the wanted architecture is run, so a package for a Pi is built on any machine that
has dpkg-deb. What the lock file names is what goes in, hash by hash. Of the system it uses Python alone, the one that
the Debian release has: 12 (bookworm) 3.11, 13 (trixie) 3.13.

Run by `make deb`. Why so: docs/decisions/0077-a-package-for-debian.md.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "packaging" / "debian"
UNIT = ROOT / "agent" / "src" / "lms_agent" / "installing" / "lms-agent.service"
UV = ROOT / ".tools" / "uv" / "bin" / "uv"
HOME = "opt/lms-evo"
MAINTAINER_SCRIPTS = ("postinst", "prerm", "postrm")
LEFT_OUT = ("pip",)
"""Asked for by others and not needed by the agent: sqlite-utils wants pip for a command that we do not have."""


class Release(NamedTuple):
    """A Debian release.

    Attributes:
        python: the Python that it has.
        glibc: the minor version of its glibc 2.x.
    """

    python: str
    glibc: int


RELEASES = {12: Release("3.11", 36), 13: Release("3.13", 41)}
MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "armhf": "armv7l"}
"""Debian's architectures, and what wheels call them."""
OLDEST_GLIBC = 17


class BuildError(Exception):
    """The package cannot be built; the message says what to do."""


def platforms(architecture: str, release: Release) -> list[str]:
    """The platform tags of wheels that run there, the newest glibc first."""
    machine = MACHINES[architecture]
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(release.glibc, OLDEST_GLIBC - 1, -1)]
    return [*tags, f"manylinux2014_{machine}", f"linux_{machine}"]


def build(architecture: str, debian: int, version: str, folder: Path) -> Path:
    """Build one package.

    Args:
        architecture: Debian's word: "amd64", "arm64", "armhf".
        debian: the release that it is for.
        version: the upstream version; the release is added to it.
        folder: where the package goes.

    Returns:
        The package.

    Raises:
        BuildError: a tool or a wheel is missing.
    """
    if shutil.which("dpkg-deb") is None:
        raise BuildError("dpkg-deb is not here: on Debian `apt-get install dpkg`, elsewhere the package named dpkg")
    release = RELEASES[debian]
    full_version = f"{version}-1~deb{debian}"
    folder.mkdir(parents=True, exist_ok=True)
    package = folder / f"lms-agent_{full_version}_{architecture}.deb"
    with tempfile.TemporaryDirectory(prefix="lms-deb-") as made:
        work, tree = Path(made), Path(made) / "tree"
        tree.mkdir(mode=0o755)
        _environment(work, tree, architecture, release)
        _files(tree, release)
        _control(tree, architecture, release, full_version)
        _run(["dpkg-deb", "--root-owner-group", "--build", tree, package], environment=_dated())
    return package


def _environment(work: Path, tree: Path, architecture: str, release: Release) -> None:
    """The packages, and a virtual environment around them that uses the system's Python."""
    uv_environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never", "UV_SYSTEM_CERTS": "1"}
    requirements, wheels = work / "requirements.txt", work / "wheels"
    left_out = [part for name in LEFT_OUT for part in ("--no-emit-package", name)]
    locked = ["export", "--quiet", "--locked", "--no-dev", "--no-emit-workspace", "--package", "lms-agent"]
    locked += ["--all-extras", *left_out]
    _run([UV, *locked, "--output-file", requirements], environment=uv_environment)
    for name in ("lms-protocol", "lms-agent"):
        command = ["build", "--quiet", "--wheel", "--package", name, "--out-dir", wheels, "--python", sys.executable]
        _run([UV, *command], environment=uv_environment)
    place = tree / HOME / "lib" / f"python{release.python}" / "site-packages"
    digits = release.python.replace(".", "")
    tags = [part for tag in platforms(architecture, release) for part in ("--platform", tag)]
    tags += ["--implementation", "cp", "--python-version", release.python]
    tags += [part for abi in (f"cp{digits}", "abi3", "none") for part in ("--abi", abi)]
    pip: list[str | Path] = [
        UV.with_name("python"),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
    ]
    pip += ["--no-compile", "--only-binary", ":all:", "--target", place, *tags]
    _run([*pip, "--require-hashes", "--requirement", requirements])
    for wheel in wheels.glob("*.whl"):  # pip would note in which folder it found them
        shutil.unpack_archive(wheel, place, "zip")
    shutil.rmtree(place / "bin", ignore_errors=True)
    programs = tree / HOME / "bin"
    programs.mkdir()
    (programs / "python").symlink_to(f"/usr/bin/python{release.python}")
    _write(
        tree / HOME / "pyvenv.cfg",
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {release.python}\n",
    )
    _write(programs / "lms-agent", (SCRIPTS / "lms-agent").read_text(), mode=0o755)


def _files(tree: Path, release: Release) -> None:
    """The unit, the command on everybody's PATH, the example and the licence."""
    _write(tree / "usr/lib/systemd/system/lms-agent.service", UNIT.read_text())
    command = tree / "usr/bin/lms-agent"
    command.parent.mkdir(parents=True)
    command.symlink_to(f"/{HOME}/bin/lms-agent")
    papers = tree / "usr/share/doc/lms-agent"
    _write(papers / "agent.example.toml", (ROOT / "config" / "agent.example.toml").read_text())
    _write(papers / "README", (SCRIPTS / "README").read_text().replace("@PYTHON@", release.python))


def _control(tree: Path, architecture: str, release: Release, version: str) -> None:
    """What dpkg wants to know, and the scripts that it runs."""
    control = tree / "DEBIAN"
    files = sorted(path for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    size_kib = sum(-(-path.stat().st_size // 1024) for path in files)
    sums = [f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(tree)}" for path in files]  # noqa: S324
    _write(control / "md5sums", "\n".join(sums) + "\n")
    text = (SCRIPTS / "control").read_text()
    facts = {"VERSION": version, "ARCHITECTURE": architecture, "SIZE": str(size_kib), "PYTHON": release.python}
    for name, fact in facts.items():
        text = text.replace(f"@{name}@", fact)
    _write(control / "control", text)
    for name in MAINTAINER_SCRIPTS:
        _write(control / name, (SCRIPTS / name).read_text(), mode=0o755)


def _write(path: Path, text: str, *, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def _dated() -> dict[str, str]:
    """The environment in which one commit gives one package, bit by bit: no file is younger than the commit."""
    answer = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=False)
    return {**os.environ, "SOURCE_DATE_EPOCH": answer.stdout.strip() or "0"}


def _run(command: Sequence[str | Path], *, environment: dict[str, str] | None = None) -> None:
    try:
        answer = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise BuildError(f"{error.filename} is not here: `make setup` makes it") from error
    if answer.returncode != 0:
        words = (answer.stderr.strip() or answer.stdout.strip())[-3000:]
        raise BuildError(f"`{' '.join(str(part) for part in command[:4])} …` failed:\n{words}")


def main() -> int:
    """The command line; see `--help`."""
    own = tomllib.loads((ROOT / "agent" / "pyproject.toml").read_text())["project"]["version"]
    answer = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=False)
    here = answer.stdout.strip() if answer.stdout.strip() in MACHINES else "arm64"
    parser = argparse.ArgumentParser(description="Build the agent's Debian package.")
    parser.add_argument("--architecture", choices=MACHINES, default=here, help=f"for which machine (default: {here})")
    parser.add_argument("--debian", type=int, choices=RELEASES, default=12, help="for which release (default: 12)")
    parser.add_argument("--version", default=own, help=f"its version (default: {own}, the agent's)")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="where it goes (default: dist)")
    given = parser.parse_args()
    try:
        print(build(given.architecture, given.debian, given.version, given.output))
    except BuildError as error:
        print(f"The package was not built: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
