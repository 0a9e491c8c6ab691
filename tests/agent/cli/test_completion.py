"""Tab finishes what is typed, in a real shell, and imports nothing that it does not need."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from lms_agent.cli import COMMANDS
from lms_agent.log.sqlite_log import SqliteLog
from lms_protocol.reading import TagDescription

PROGRAM = Path(sys.executable).with_name("lms-agent")


def offers(*words: str, path: Path | None = None) -> list[str]:
    """What bash offers for the last of `words`."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    script = (
        f'source <("{PROGRAM}" completion bash); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        f'_lms_agent_completion "{PROGRAM}"; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    environment = {**os.environ, **({} if path is None else {"LMS_AGENT_CONFIG": str(path)})}
    answer = subprocess.run(
        [bash, "-c", script, "bash", "lms-agent", *words], capture_output=True, text=True, check=False, env=environment
    )
    assert answer.stderr == ""
    return answer.stdout.split()


def test_every_command_is_offered():
    assert offers("") == list(COMMANDS)
    assert offers("his") == ["history"]


def test_options_and_subcommands_are_offered():
    assert "--last" in offers("history", "--")
    assert "verify" in offers("log", "ver")


async def test_bioreactors_of_the_configuration_are_offered(plant):
    assert offers("history", "--device", "", path=plant.config) == ["R1"]


async def test_only_what_can_be_set_is_offered_to_be_set(plant):
    with SqliteLog.open(plant.config.with_name("log.sqlite3")) as log:
        log.register_tags([TagDescription(0, "R1", "pH/PV"), TagDescription(0, "R1", "pH/SP", access="write")])
    assert offers("set", "pH", path=plant.config) == ["pH/SP"]
    assert offers("history", "pH", path=plant.config) == ["pH/PV", "pH/SP"]


def test_nothing_is_offered_and_nothing_said_where_nothing_is_known(tmp_path):
    assert offers("history", "p", path=tmp_path / "none.toml") == []


def test_completing_a_command_imports_none():
    check = (
        "import os, sys\n"
        "os.environ.update(_LMS_AGENT_COMPLETE='complete_bash', COMP_WORDS='lms-agent d', COMP_CWORD='1')\n"
        "from lms_agent.cli import app\n"
        "try:\n    app(prog_name='lms-agent')\nexcept SystemExit:\n    pass\n"
        "print(sorted(name for name in sys.modules if name.startswith('lms_')))"
    )
    answer = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert answer.stdout.split("\n")[:-1] == ["doctor", "['lms_agent', 'lms_agent.cli']"]


async def test_unknown_shell_is_refused_and_script_can_be_installed(lms_agent, tmp_path, monkeypatch):
    refused = await lms_agent("completion", "tcsh")
    assert (refused.code, "allowed: bash, zsh, fish" in refused.err) == (2, True)
    monkeypatch.setenv("HOME", str(tmp_path))
    for shell in ("bash", "zsh", "fish"):
        installed = await lms_agent("completion", shell, "--install")
        assert installed.code == 0
        place = Path(installed.out.split(" written")[0])
        assert place.is_relative_to(tmp_path)
        assert "_LMS_AGENT_COMPLETE" in place.read_text()
