"""The demo's folder: who may read what, and that secrets stay the same."""

import json
import os
import subprocess
import sys

import pytest
from lms_firmware_sim.stand.errors import DemoRunningError
from lms_firmware_sim.stand.layout import Layout, write_description


@pytest.fixture
def layout(tmp_path):
    made = Layout(tmp_path / "with a space" / ".demo")
    made.make()
    return made


def mode(path):
    return path.stat().st_mode & 0o777


def test_folders_and_files_are_closed_to_others(layout):
    secret = layout.secret_file("web-secret-key")
    write_description(layout.description, {"url": "http://127.0.0.1:1"})
    assert mode(layout.root) == 0o711
    assert {mode(folder) for folder in layout.root.iterdir() if folder.is_dir()} == {0o700}
    assert mode(secret) == 0o600
    assert mode(layout.description) == 0o600
    assert json.loads(layout.description.read_text()) == {"url": "http://127.0.0.1:1"}


def test_secrets_are_long_differ_and_stay(layout):
    first, second = layout.secret("one"), layout.secret("two")
    assert first != second
    assert len(first) >= 32
    assert Layout(layout.root).secret("one") == first
    assert layout.password("demo-user") == layout.password("demo-user")
    assert len(layout.password("demo-user")) >= 15


def test_replacing_a_description_leaves_nothing_beside_it(layout):
    for number in range(3):
        write_description(layout.description, {"number": number})
    assert [path.name for path in layout.root.iterdir() if path.is_file()] == ["demo.json"]


def test_a_second_demo_is_refused_and_the_first_is_named(layout):
    source = (
        "import sys; from pathlib import Path; from lms_firmware_sim.stand.layout import Layout\n"
        "held = Layout(Path(sys.argv[1])).hold(); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", source, str(layout.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "held\n"
        with pytest.raises(DemoRunningError, match=f"process {first.pid}"):
            layout.hold()
        first.stdin.close()
    os.close(layout.hold())
