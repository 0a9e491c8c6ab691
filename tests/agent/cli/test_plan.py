"""`lms-agent plan` shows the requests of each line and how busy it will be."""

import pytest


def with_points(plant, addresses, *, baud=19200, period_s=1.0):
    points = "".join(f'[[instrument.point]]\ntag = "T{at}/PV"\naddress = {at}\n' for at in addresses)
    text = plant.config.read_text()
    text = text.replace('point = [{ tag = "Temperature/PV"', 'point = [{ tag = "Old/PV"')
    text += f'\n[[instrument]]\nid = "many"\nbus = "line"\nbioreactor = "R1"\nunit = 7\nperiod_s = {period_s}\n{points}'
    plant.config.write_text(text.replace("timeout_s = 1.0", f"timeout_s = 0.1\nbaud = {baud}"))


async def test_requests_and_their_times_are_shown(plant, lms_agent):
    with_points(plant, [0, 1, 4, 60])
    answer = await lms_agent("plan", plant.config)
    assert answer.code == 0, answer.err
    assert "Bus line, 19200 baud 8N1, 0.52 ms a character" in answer.out
    assert "many, every 1 s: 2 requests" in answer.out
    assert "(one by one: 4, " in answer.out
    assert "holding 0 to 4" in answer.out
    assert "The line is in use" in answer.out
    assert "balance: asked in mt-sics every 1 s for Weight/PV" in answer.out
    assert not any(wire.requests for wire in (plant.tcp, plant.rtu, plant.balance)), "plan opens no port"


async def test_plan_is_there_for_programs(plant, lms_agent):
    with_points(plant, [0, 1, 4, 60])
    answer = await lms_agent("plan", plant.config, "--json")
    line = answer.json["buses"][1]
    assert line["instruments"][1]["requests"] == [
        {"register": "holding", "address": 0, "count": 5, "along": 2, "milliseconds": 25.6,
         "tags": ["T0/PV", "T1/PV", "T4/PV"]},
        {"register": "holding", "address": 60, "count": 1, "along": 0, "milliseconds": 21.5, "tags": ["T60/PV"]},
    ]  # fmt: skip
    assert line["busy"] == pytest.approx(sum(each["milliseconds"] for each in line["instruments"]) / 1000, abs=0.001)


async def test_line_that_is_too_busy_is_warned_of_with_code_1(plant, lms_agent):
    with_points(plant, range(0, 600, 50), baud=9600, period_s=0.25)
    answer = await lms_agent("plan", plant.config)
    assert answer.code == 1
    assert "scans will be missed; use a higher baud rate, longer periods or fewer points" in answer.out


async def test_plan_fits_a_screen_of_80_columns(plant, lms_agent, monkeypatch):
    with_points(plant, [*range(40)])
    monkeypatch.setenv("COLUMNS", "80")
    answer = await lms_agent("plan", plant.config)
    ports = {plant.tcp.address, plant.rtu.address, plant.balance.address}
    lines = [line for line in answer.out.splitlines() if line.strip() not in ports]
    assert max(map(len, lines)) <= 80
