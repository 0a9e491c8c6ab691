"""The agent in an environment of its own, as a Pi has it: nothing of the cloud, the simulator or the tests beside it.

What lies beside it counts: sqlite-utils, for one, imports numpy wherever it finds it.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".tools" / "agent-alone"
_OURS = ("lms-agent", "lms-protocol")


def installed(home: Path = HOME) -> list[str | Path]:
    """The command line of `lms-agent` in that environment, which is brought up to date first.

    Raises:
        RuntimeError: uv could not make it; with uv's words.
    """
    again = [part for name in _OURS for part in ("--reinstall-package", name)]
    answer = subprocess.run(
        [
            *(ROOT / ".tools" / "uv" / "bin" / "uv", "sync", "--quiet", "--locked", "--no-dev", "--no-editable"),
            *("--package", "lms-agent", *again, "--python", sys.executable, "--compile-bytecode"),
        ],
        cwd=ROOT,
        env={**os.environ, "UV_PROJECT_ENVIRONMENT": str(home), "UV_PYTHON_DOWNLOADS": "never", "UV_SYSTEM_CERTS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode != 0:
        raise RuntimeError(f"the agent's own environment cannot be made in {home}: {answer.stderr[-2000:]}")
    return [home / "bin" / "python", home / "bin" / "lms-agent"]
