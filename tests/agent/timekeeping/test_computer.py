"""What the computer says of its clocks, and the words for it."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from lms_agent.timekeeping import kernel
from lms_agent.timekeeping.source import BOOT_ID, Computer
from lms_agent.timekeeping.telling import agent_now_ms, needs_attention, sentence

WELL: dict[str, Any] = {"trust": "trusted", "error_ms": 0, "synchronised": True, "system_ahead_ms": 0}
HOUR_MS = 3_600_000


def test_both_clocks_are_those_of_the_system() -> None:
    computer = Computer()
    seen = computer.observe()
    assert abs(seen.system_ms - time.time_ns() // 1_000_000) < 60_000
    assert 0 <= computer.boot_ms() - seen.boot_ms < 60_000
    assert str(computer.boot) == BOOT_ID.read_text().strip()


def test_kernel_is_asked_without_being_changed() -> None:
    program = "from lms_agent.timekeeping.kernel import synchronised; print(synchronised())"
    told = {subprocess.check_output([sys.executable, "-c", program], text=True) for _ in range(2)}
    assert len(told) == 1
    assert told <= {"True\n", "False\n", "None\n"}


@pytest.mark.parametrize(
    ("files", "expected"), [((), None), (("timesync",), False), (("timesync", "timesync/synchronized"), True)]
)
def test_file_of_timesyncd_counts_where_the_kernel_may_not_be_asked(
    files: tuple[str, ...], expected: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "_adjtimex", lambda: lambda buffer: -1)
    for name in files:
        (tmp_path / name).touch() if "/" in name else (tmp_path / name).mkdir()
    assert kernel.synchronised(tmp_path / "timesync") is expected


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trust": "waiting"}, "just booted"),
        ({"trust": "wrong"}, "WRONG"),
        ({"trust": "untrusted", "error_ms": None, "synchronised": False}, "not synchronised"),
        ({"trust": "untrusted", "error_ms": -HOUR_MS, "system_ahead_ms": -HOUR_MS}, "60.0 min ahead of the true time"),
        ({"synchronised": False, "system_ahead_ms": 2 * HOUR_MS}, "was set 2.0 h ahead of the agent's time"),
    ],
)
def test_what_is_wrong_with_the_clock_is_said(changes: dict[str, Any], words: str) -> None:
    clock = WELL | changes
    assert needs_attention(clock)
    assert words in sentence(clock)


def test_nothing_is_said_of_a_clock_that_is_well() -> None:
    assert not needs_attention(WELL)


def test_age_is_taken_by_the_agents_clock_while_the_computer_has_not_booted_since() -> None:
    computer = Computer()
    clock = {"boot": str(computer.boot), "offset_ms": 1_000_000}
    assert abs(agent_now_ms({"clock": clock}) - computer.boot_ms() - 1_000_000) < 60_000
    assert abs(agent_now_ms({"clock": clock | {"boot": "another"}}) - time.time_ns() // 1_000_000) < 60_000
    assert abs(agent_now_ms(None) - time.time_ns() // 1_000_000) < 60_000
