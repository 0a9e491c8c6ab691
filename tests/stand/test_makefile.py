"""The Makefile tells what it can do, and what a machine lacks."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def make(folder, *arguments, path=None):
    environment = {"PATH": str(path) if path else "/usr/local/bin:/usr/bin:/bin", "HOME": "/nonexistent"}
    command = [shutil.which("make"), *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_help_lists_every_target_in_a_line():
    printed = make(ROOT, "help").stdout
    listed = re.findall(r"^  make (\S+) +\S.+$", printed, flags=re.MULTILINE)
    phony = set(re.findall(r"^\.PHONY: (\S+)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(listed) == phony
    assert {"demo", "demo-reset", "test", "check", "bench", "format"} <= set(listed)


@pytest.fixture
def machine(tmp_path):
    """A folder with the Makefile, and a PATH with a few tools and whichever pythons a test puts there."""
    checkout = tmp_path / "check out"
    checkout.mkdir()
    shutil.copy(ROOT / "Makefile", checkout)
    path = tmp_path / "bin"
    path.mkdir()
    for tool in ("sh", "mkdir", "rm", "cat", "id", "pwd"):
        (path / tool).symlink_to(shutil.which(tool))

    def python(name, answers):
        (path / name).write_text(f'#!/bin/sh\ncase "$2" in {answers} esac\n')
        (path / name).chmod(0o755)

    return checkout, path, python


def test_a_machine_without_python_is_told_so(machine):
    checkout, path, _ = machine
    answer = make(checkout, "setup", path=path)
    assert answer.returncode != 0
    assert "needs Python 3.11 or newer" in answer.stderr
    assert "no Python 3 at all" in answer.stderr
    assert "apt-get install python3 python3-venv" in answer.stderr


def test_an_old_python_is_named(machine):
    checkout, path, python = machine
    python("python3", "*print*) echo 3.9;; *exit*) exit 1;;")
    answer = make(checkout, "setup", path=path)
    assert answer.returncode != 0
    assert "python3 is 3.9, too old" in answer.stderr


def test_a_python_without_venv_is_named_with_its_package(machine):
    checkout, path, python = machine
    python("python3.12", "*print*) echo 3.12;; *exit*) exit 0;; *ensurepip*) exit 1;;")
    answer = make(checkout, "setup", path=path)
    assert answer.returncode != 0
    assert "python3.12 (3.12) lacks its venv module: apt-get install python3.12-venv" in answer.stderr


def test_continuous_integration_runs_make_test():
    assert "exec make test\n" in (ROOT / ".ci/run").read_text()
    assert (ROOT / ".ci/run").stat().st_mode & 0o111
