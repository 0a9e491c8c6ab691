"""What all commands have in common: a page, JSON for programs, and help that fits 80 cells."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lms_agent.cli import COMMANDS, _load

PAGE = (Path(__file__).parents[3] / "docs" / "agent.md").read_text(encoding="utf-8")
PROGRAM = Path(sys.executable).with_name("lms-agent")
WITHOUT_JSON = {("run",), ("completion",)}
"""The agent itself, and a script for the shell."""


def every_command() -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Each command's words, and its options."""
    for name in COMMANDS:
        loaded = _load(name)
        inner = getattr(loaded, "commands", {})
        for words, command in [((name, sub), found) for sub, found in inner.items()] or [((name,), loaded)]:
            yield words, [option for parameter in command.params for option in parameter.opts]


ALL = dict(every_command())


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_command_prints_json_for_programs(words):
    assert ("--json" in ALL[words]) is (words not in WITHOUT_JSON)


@pytest.mark.parametrize("name", COMMANDS)
def test_command_has_its_row_in_the_documentation(name):
    assert re.search(rf"`(lms-agent )?{name}\b", PAGE)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_80_cells(name):
    environment = {"PATH": "/usr/bin:/bin", "COLUMNS": "80", "LANG": "C.UTF-8"}
    answer = subprocess.run(
        [PROGRAM, name, "--help"], capture_output=True, text=True, check=True, env=environment, encoding="utf-8"
    )
    assert [line for line in answer.stdout.splitlines() if len(line) > 80] == []


def test_slip_of_the_pen_is_answered_with_what_may_be_meant():
    answer = subprocess.run([PROGRAM, "histroy"], capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert "Perhaps 'history'?" in answer.stderr
