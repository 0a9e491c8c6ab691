"""Nothing of the stand outlives the process that started it, whatever kills that."""

import os
import subprocess
from pathlib import Path

import psutil
from lms_firmware_sim.stand import spawning


def test_program_dies_when_its_parent_is_killed(helper, alive, wait_for, tmp_path):
    running = helper(
        """
        from lms_firmware_sim.stand.spawning import spawn
        folder = Path(sys.argv[1])
        told = spawn(["sleep", "600"], log_path=folder / "log", env=os.environ, cwd=folder).pid
        """,
        tmp_path,
    )
    assert alive(running.told)
    running.kill()
    wait_for(lambda: not alive(running.told))


def test_program_does_not_start_when_its_parent_is_dead_already(tmp_path):
    # The launcher is told a parent that is not its parent, as when the parent dies before the launcher looks.
    mark = tmp_path / "started"
    command = spawning.tied(["touch", str(mark)])
    command[command.index(str(os.getpid()))] = "1"
    assert subprocess.run(command, check=False).returncode == 0
    assert not mark.exists()


def test_postgres_and_its_children_vanish_when_their_parent_is_killed(helper, alive, wait_for, stand_folder):
    running = helper(
        """
        from lms_firmware_sim.stand.postgres import PostgresServer
        from lms_firmware_sim.stand.postgres_programs import for_tests
        folder = Path(sys.argv[1])
        server = PostgresServer(folder / "killed", for_tests(os.environ), password="p", log_path=folder / "killed.log")
        server.start()
        told = {"pid": server.pid, "port": server.port}
        """,
        stand_folder,
    )
    postmaster = psutil.Process(running.told["pid"])
    family = [postmaster.pid, *(child.pid for child in postmaster.children(recursive=True))]
    assert len(family) > 3
    running.kill()
    wait_for(lambda: not any(alive(pid) for pid in family))


def test_broker_vanishes_when_its_parent_is_killed(helper, alive, wait_for, stand_folder, mosquitto):
    running = helper(
        """
        from lms_firmware_sim.stand import broker_access, broker_programs
        from lms_firmware_sim.stand.broker import Broker
        folder = Path(sys.argv[1])
        program = broker_programs.find(Path(sys.argv[2]), print)
        broker = Broker(folder / "killed-broker", program, [broker_access.admin("a")], log_path=folder / "kb.log")
        broker.start()
        told = broker.pid
        """,
        stand_folder,
        Path(__file__).resolve().parents[2] / ".tools",
    )
    running.kill()
    wait_for(lambda: not alive(running.told))


def test_missing_program_is_named_in_its_log(tmp_path):
    process = spawning.spawn(["/no/such/program"], log_path=tmp_path / "log", env=os.environ, cwd=tmp_path)
    assert process.wait() == 126
    assert "/no/such/program: No such file or directory" in (tmp_path / "log").read_text()
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
