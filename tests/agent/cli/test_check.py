"""`lms-agent check` says what a configuration means, or everything that is wrong with it."""


async def test_good_configuration_is_explained(plant, lms_agent):
    answer = await lms_agent("check", plant.config)
    assert answer.code == 0, answer.err
    assert f"{plant.config} is good." in answer.out
    assert f"Bus line: Modbus RTU on {plant.rtu.address}, 19200 baud 8N1, timeout 1 s" in answer.out
    assert "temperature, unit 3: R1, every 1 s" in answer.out
    assert "holding 0 to 1: pH/PV" in answer.out
    assert "3 tags of 1 bioreactor" in answer.out
    (clock,) = (line for line in answer.out.splitlines() if line.startswith("Clock "))
    assert "synchronised" in clock
    assert "waits 60 s" in clock
    assert "Log up to 4000 MB; when full, nothing unacknowledged is dropped" in answer.out
    assert "correct horse" not in answer.out
    assert not any(wire.requests for wire in (plant.tcp, plant.rtu, plant.balance)), "check opens no port"


async def test_plan_is_there_for_programs(plant, lms_agent):
    answer = await lms_agent("check", plant.config, "--json")
    assert answer.code == 0
    controller = answer.json["buses"][0]["instruments"][0]
    assert controller["blocks"] == [{"register": "holding", "address": 0, "count": 2, "tags": ["pH/PV"]}]
    assert answer.json["tags"] == 3
    assert answer.json["clock"]["wait_s"] == 60
    assert answer.json["warnings"] == []


async def test_every_problem_is_told_with_line_and_exit_code_2(plant, lms_agent):
    text = plant.config.read_text().replace("unit = 3", "unit = 300").replace("port = ", "prot = ", 1)
    plant.config.write_text(text)
    answer = await lms_agent("check", plant.config)
    assert answer.code == 2
    assert "line 18, bus[controller].prot: found an unknown key" in answer.err
    assert "instrument[temperature].unit: found 300" in answer.err
    answer = await lms_agent("check", plant.config, "--json")
    assert answer.code == 2
    assert [problem["line"] for problem in answer.json["problems"]] == [18, 41]


async def test_line_that_cannot_keep_up_is_warned_of_with_exit_code_1(plant, lms_agent):
    points = ", ".join(f'{{ tag = "T{n}/PV", address = {40 * n} }}' for n in range(1, 40))
    text = plant.config.read_text().replace('point = [{ tag = "Temperature/PV"', f'point = [{points}, {{ tag = "T/PV"')
    plant.config.write_text(text.replace('kind = "modbus-rtu"', 'kind = "modbus-rtu"\nbaud = 9600'))
    answer = await lms_agent("check", plant.config)
    assert answer.code == 1
    assert "Warning: bus line would be busy" in answer.out


async def test_configuration_is_found_through_the_environment(plant, lms_agent, monkeypatch):
    monkeypatch.setenv("LMS_AGENT_CONFIG", str(plant.config))
    assert (await lms_agent("check")).code == 0
    monkeypatch.setenv("LMS_AGENT_CONFIG", str(plant.config.with_name("nowhere.toml")))
    answer = await lms_agent("check")
    assert answer.code == 2
    assert "nowhere.toml: found no such file" in answer.err


async def test_help_lists_every_command_without_loading_any(lms_agent):
    import subprocess
    import sys

    answer = await lms_agent("--help")
    assert answer.code == 0
    for command in ("run", "read", "watch", "log", "check"):
        assert f"  {command}  " in answer.out
    code = "import sys; from lms_agent.cli import app; print([m for m in sys.modules if m.startswith('lms_agent.')])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "['lms_agent.cli']"


async def test_unknown_command_is_refused(lms_agent):
    answer = await lms_agent("reed")
    assert answer.code == 2
    assert "reed" in answer.err


async def test_derived_tags_are_told_with_their_expressions(plant, lms_agent):
    derived = '\n[[derived]]\nbioreactor = "R1"\ntag = "Twice/PV"\nexpression = "{pH/PV} * 2"\n'
    plant.config.write_text(plant.config.read_text(encoding="utf-8") + derived, encoding="utf-8")
    answer = await lms_agent("check", plant.config)
    assert answer.code == 0, answer.out
    assert "Twice/PV of R1 = {pH/PV} * 2" in answer.out.splitlines()
