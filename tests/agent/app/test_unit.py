"""The systemd unit: hardened, and in step with the program."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest
from lms_agent.health import EVERY_S

UNIT = Path(__file__).parents[3] / "systemd" / "lms-agent.service"


@pytest.fixture
def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(UNIT)
    return parser


def test_exposure_is_at_most_2() -> None:
    """Four tenths of it for asking the kernel whether the clock is synchronised; setting it takes a capability."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("needs systemd-analyze")
    answer = subprocess.run(
        [program, "security", "--offline=true", "--threshold=20", str(UNIT)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "Unknown" in answer.stderr or "unrecognized option" in answer.stderr:
        pytest.skip("this systemd-analyze cannot check a unit offline")
    assert answer.returncode == 0, answer.stdout[-300:] + answer.stderr


def test_watchdog_waits_longer_than_the_signs_of_life_are_apart(unit: configparser.ConfigParser) -> None:
    assert unit["Service"]["Type"] == "notify"
    assert float(unit["Service"]["WatchdogSec"]) >= 10 * EVERY_S


def test_unusable_configuration_is_not_tried_again_and_again(unit: configparser.ConfigParser) -> None:
    assert unit["Service"]["RestartPreventExitStatus"] == "2"
