"""`lms-agent service`: what an installation would do, and what it refuses."""

import shutil
import subprocess
from pathlib import Path

import pytest
from lms_agent.installing.steps import Step, carry_out, obstacles, steps
from lms_agent.installing.systemd import UNIT
from lms_agent.installing.unit import STATE, unit_text
from lms_agent.settings import load_settings

ROOT = Path(__file__).parents[3]


def test_unit_of_the_repository_is_the_one_that_is_installed():
    text = unit_text(Path("/opt/lms-evo/bin/lms-agent"), Path("/etc/lms-evo/agent.toml"), STATE)
    assert text == (ROOT / "systemd" / "lms-agent.service").read_text()


def test_unit_has_this_computers_paths_and_may_write_the_log_where_it_lies():
    text = unit_text(Path("/srv/an agent/bin/lms-agent"), Path("/etc/my lms/100%.toml"), Path("/data/logs"))
    assert 'ExecStart="/srv/an agent/bin/lms-agent" run --config "/etc/my lms/100%%.toml"\n' in text
    assert "\nReadWritePaths=/data/logs\n" in text
    assert "/opt/lms-evo" not in text


@pytest.mark.parametrize("folder", [STATE, Path("/data/an agent's logs")])
def test_unit_is_one_that_systemd_takes(tmp_path, folder):
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("needs systemd-analyze")
    unit = tmp_path / "lms-agent.service"
    unit.write_text(unit_text(Path("/bin/true"), Path("/etc/my lms/agent.toml"), folder))
    answer = subprocess.run([program, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
    assert "lms-agent.service:" not in answer.stderr, answer.stderr


async def test_dry_run_tells_every_step_and_does_none(plant, lms_agent):
    answer = await lms_agent("service", "install", "--dry-run", "--config", plant.config)
    settings = load_settings(plant.config)
    hidden = list(obstacles(settings, plant.config, Path("/opt/lms-evo/bin/lms-agent")))
    if hidden:  # the tests' folder is one that the service cannot see
        assert answer.code == 2
        assert "which the service cannot see" in answer.err.replace("\n ", "")
    else:
        assert answer.code == 0
        assert "systemctl enable --now lms-agent.service" in answer.out


def test_folders_that_the_service_cannot_see_are_named(plant):
    settings = load_settings(plant.config)
    found = list(obstacles(settings, Path("/home/anna/agent.toml"), Path("/root/venv/bin/lms-agent")))
    assert any("/home/anna/agent.toml lies in /home" in sentence for sentence in found)
    assert any("move it to /opt/lms-evo" in sentence for sentence in found)


def test_unit_of_the_package_is_left_where_it_runs_just_this(plant, tmp_path):
    settings = load_settings(plant.config)
    program = Path("/opt/lms-evo/bin/lms-agent")
    needed = steps(settings, plant.config, program, packaged=tmp_path / "none")
    assert any(step.path is not None for step in needed)
    (tmp_path / UNIT).write_text(unit_text(program, plant.config, settings.agent.log.parent))
    left = steps(settings, plant.config, program, packaged=tmp_path)
    assert all(step.path is None for step in left)
    assert left[-1].command == ("systemctl", "enable", "--now", UNIT)


async def test_unit_can_be_printed(plant, lms_agent):
    answer = await lms_agent("service", "install", "--print", "--config", plant.config)
    assert answer.code == 0
    assert f"--config {plant.config}" in answer.out


def test_file_is_written_whole_and_a_failed_command_says_what_failed(tmp_path):
    carry_out(Step("write", path=tmp_path / "unit", text="[Unit]\n"))
    assert (tmp_path / "unit").read_text() == "[Unit]\n"
    with pytest.raises(Exception, match="`ls /no/such/place` failed"):
        carry_out(Step("look", ("ls", "/no/such/place")))


async def test_status_says_how_it_is(lms_agent):
    answer = await lms_agent("service", "status", "--json")
    assert answer.json["unit"] == "lms-agent.service"
    assert answer.code == (0 if answer.json.get("active") == "active" else 1)
