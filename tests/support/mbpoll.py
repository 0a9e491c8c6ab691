"""mbpoll, a Modbus master of another make: the system's, or Debian's package unpacked into `.tools`.

PYTHONPATH=tests python -m support.mbpoll      fetches it (make mbpoll); without a network its tests are skipped
"""

import asyncio
import os
import shutil
import sys
from pathlib import Path

from lms_firmware_sim.stand import debian_package
from lms_firmware_sim.stand.errors import StandError

UNPACKED = Path(__file__).resolve().parents[2] / ".tools" / "mbpoll"
MISSING = "mbpoll is not here: make mbpoll, or apt-get install mbpoll"


def program() -> str | None:
    """Where it is; None where it is not."""
    fetched = UNPACKED / "usr/bin/mbpoll"
    return shutil.which("mbpoll") or (str(fetched) if fetched.exists() else None)


async def mbpoll(*arguments: str | int) -> dict[int, float]:
    """Run it once; gives the values that it shows, by address.

    Raises:
        AssertionError: it ends with an error; tells what it said.
    """
    found = program()
    assert found is not None, MISSING
    environment = {**os.environ, "LD_LIBRARY_PATH": debian_package.library_path(UNPACKED)}
    process = await asyncio.create_subprocess_exec(
        found,
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment,
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    shown = [line.split("]:") for line in output.splitlines() if line.startswith("[")]
    return {int(address.strip("[ ")): float(value.split()[0]) for address, value in shown}


def main() -> None:
    """Fetch it where it is missing; say so where that fails."""
    if program() is not None:
        return
    try:
        debian_package.fetch("mbpoll", UNPACKED, lambda text: print(f"Set-up: {text}", flush=True))
    except StandError as error:
        print(f"mbpoll could not be fetched, its tests will be skipped: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
