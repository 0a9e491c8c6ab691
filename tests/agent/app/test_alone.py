"""An environment with nothing but `lms-agent` and `lms-protocol` (and what they need) runs the agent.

This is what a Raspberry Pi installs: no cloud, no simulator, no development tools.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


def find_uv() -> str | None:
    own = ROOT / ".tools" / "uv" / "bin" / "uv"
    return str(own) if own.exists() else shutil.which("uv")


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a fresh environment, made from the lock file, wheels and all."""
    uv = find_uv()
    if uv is None:
        pytest.skip("needs uv: `make setup` puts it into .tools, or install it on PATH")
    place = tmp_path_factory.mktemp("an environment") / "venv"
    environment = {
        **{name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"},
        "UV_PROJECT_ENVIRONMENT": str(place),
        "UV_SYSTEM_CERTS": "1",
        "UV_PYTHON_DOWNLOADS": "never",
    }
    command = [
        uv,
        "sync",
        "--package",
        "lms-agent",
        "--no-dev",
        "--no-editable",
        "--frozen",
        # uv keeps what it built until a pyproject.toml changes, not until the code does.
        *("--refresh-package", "lms-agent", "--refresh-package", "lms-protocol"),
        "--python",
        sys.executable,
    ]
    answer = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return place / "bin"


def test_nothing_else_of_ours_is_installed(alone: Path) -> None:
    code = (
        "import importlib.metadata as m; print(*sorted(d.name for d in m.distributions() if d.name.startswith('lms')))"
    )
    answer = subprocess.run([alone / "python", "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["lms-agent", "lms-protocol"]


async def test_agent_alone_logs_what_a_modbus_wire_says(
    alone: Path, wire: Any, configure: Any, start_agent: Any, free_port: int
) -> None:
    config = configure(wire.port, free_port)
    program = (str(alone / "lms-agent"),)
    async with start_agent(config, program) as agent:
        await agent.until_batches(10)
        assert await agent.end() == 0, agent.words
    async with start_agent(config, program) as agent:
        await agent.until_batches(agent.head() + 20)
        status = Path(f"/proc/{agent.process.pid}/status").read_text()
        resident_kb = int(status.split("VmRSS:")[1].split()[0])
        assert await agent.end() == 0, agent.words
    for command in (("log", "--json"), ("watch", "--once", "--json"), ("check",)):
        answer = subprocess.run(
            [*program, *command, "--config", str(config)], capture_output=True, text=True, check=False
        )
        if answer.returncode == 2 and command == ("check",):  # takes the file as an argument
            answer = subprocess.run([*program, *command, str(config)], capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stderr
    print(f"resident memory of the agent: {resident_kb / 1024:.1f} MB")
    assert resident_kb < 55 * 1024
