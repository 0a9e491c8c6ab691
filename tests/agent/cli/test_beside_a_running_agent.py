"""A running agent has the serial ports; commands ask it, and neither disturbs the other."""

from lms_agent.log.reader import LogReader
from lms_firmware_sim.wires import Fault


async def test_running_agent_reads_for_the_command_on_its_own_ports(plant, lms_agent, running):
    async with running():
        answer = await lms_agent("read", plant.config)
        assert answer.code == 0, answer.err + answer.out
        rows = {line.split()[1]: line.split() for line in answer.out.splitlines()}
        assert rows["pH/PV"][2:5] == ["7.01", "pH", "good"]
        assert rows["Temperature/PV"][2:5] == ["37.2", "°C", "good"]
        assert rows["Weight/PV"][2:5] == ["812.5", "g", "good"]
        answer = await lms_agent("read", "--json", plant.config, "--instrument", "temperature")
        assert [(reading["tag"], reading["value"]) for reading in answer.json["readings"]] == [("Temperature/PV", 37.2)]
    with LogReader.open(plant.config.with_name("log.sqlite3")) as reader:
        assert not reader.open_gaps()
    answer = await lms_agent("read", plant.config)  # the ports are free again, and read without an agent
    assert answer.code == 0, answer.out


async def test_failure_is_told_in_the_same_words_as_without_an_agent(plant, lms_agent, running):
    async with running():
        plant.rtu.fault = Fault.silence()
        answer = await lms_agent("read", plant.config)
        assert answer.code == 1
        expected = f"temperature: no reply from unit 3 on {plant.rtu.address} within 1 s (no value for Temperature/PV)"
        assert expected in answer.out
        assert "7.01" in answer.out
