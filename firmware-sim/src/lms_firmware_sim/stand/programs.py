"""LMS evo's own programs, known here by their command lines only."""

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from lms_firmware_sim.stand.errors import CommandFailedError
from lms_firmware_sim.stand.spawning import tied


def program(name: str) -> list[str | Path]:
    """The command line of one of LMS evo's programs in this environment.

    By way of its interpreter, because a script's first line cannot name an interpreter whose path holds a space.
    """
    return [sys.executable, Path(sys.executable).parent / name]


def plain_environment() -> dict[str, str]:
    """Our environment without any setting of LMS evo: each program gets exactly its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LMS_", "PYTHON"))}
    return {**kept, "PYTHONUNBUFFERED": "1"}


def run(name: str, *arguments: str | Path, environment: Mapping[str, str], told: str = "") -> str:
    """Run one of LMS evo's commands to its end; give what it printed.

    Args:
        name: the program.
        arguments: the command; never a secret.
        environment: its whole environment.
        told: what it reads on standard input: a secret.

    Raises:
        CommandFailedError: it ended with an error.
    """
    command = tied([*program(name), *arguments])
    answer = subprocess.run(command, input=told, env=dict(environment), capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        shown = shlex.join([name, *(str(argument) for argument in arguments)])
        raise CommandFailedError(shown, answer.returncode, (answer.stderr or answer.stdout)[-2000:])
    return answer.stdout
