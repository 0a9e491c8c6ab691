"""The program `lms-sim`, as a program."""

import asyncio
import csv
import io
import json
import signal
from datetime import UTC, datetime, timedelta

import pytest
from lms_firmware_sim import state_file
from pymodbus.client import AsyncModbusTcpClient
from support.patience import awaiting

PLANT = """
[plant]
name = "small"

[[bioreactor]]
id = "R1"
name = "One"
strain = "e-coli"
age_h = 0.5
vessel = { total_l = 3, air_max_l_min = 5 }
recipe = { start_l = 1.5, preparation_h = 0.2 }
set_points = { air_l_min = 1.5 }

[[wire]]
id = "controller"
kind = "modbus-tcp"

[[wire.unit]]
unit = 1
bioreactor = "R1"

[[wire.unit.sequence]]
address = 0
tags = ["Temperature/PV", "Temperature/SP", "Weight/PV"]

[[wire]]
id = "balance"
kind = "mt-sics"
bioreactor = "R1"
"""


@pytest.fixture
def small(tmp_path):
    file = tmp_path / "small.toml"
    file.write_text(PLANT)
    return file


async def read(address: str, *, write: float | None = None) -> list[float]:
    """The three values; before, a new temperature set point if one is given."""
    host, port = address.split(":")
    client = AsyncModbusTcpClient(host, port=int(port), timeout=10)
    assert await client.connect()
    kind = client.DATATYPE.FLOAT32
    try:
        if write is not None:
            words = client.convert_to_registers(write, kind, word_order="big")
            assert not (await client.write_registers(2, words, device_id=1)).isError()
        registers = (await client.read_holding_registers(0, count=6, device_id=1)).registers
        return client.convert_from_registers(registers, kind, word_order="big")
    finally:
        client.close()


async def test_serve_ends_cleanly_and_goes_on_after_a_restart(small, serving, tmp_path):
    places = ("--state-dir", tmp_path / "state", "--wires-dir", tmp_path / "wires")
    async with serving(small, *places) as (process, wires):
        assert wires["balance"] == str(tmp_path / "wires" / "balance")
        assert (tmp_path / "wires" / "balance").is_char_device()
        assert (await read(wires["controller"], write=35.5))[1] == 35.5
        first = state_file.load(tmp_path / "state" / "small.json")
        process.send_signal(signal.SIGTERM)
        async with awaiting("the simulator ends"):
            assert await process.wait() == 0
    assert not (tmp_path / "wires" / "balance").is_symlink()
    async with serving(small, *places) as (process, wires):
        assert (await read(wires["controller"]))[1] == 35.5, "a set point outlives a restart"
    second = state_file.load(tmp_path / "state" / "small.json")
    assert second["started_at"] == first["started_at"]
    assert second["bioreactors"]["R1"]["step"] >= first["bioreactors"]["R1"]["step"]


async def test_killed_plant_comes_back_with_its_set_point_over_its_stale_links(small, serving, tmp_path):
    places = ("--state-dir", tmp_path, "--wires-dir", tmp_path / "wires")
    async with serving(small, *places) as (process, wires):
        await read(wires["controller"], write=35.5)
        async with awaiting("the set point is written down"):
            while (
                state_file.load(tmp_path / "small.json")["bioreactors"]["R1"]["controller"]["written"]["Temperature/SP"]
                != 35.5
            ):
                await asyncio.sleep(0.05)
        process.kill()
        await process.wait()
    assert (tmp_path / "wires" / "balance").is_symlink()
    async with serving(small, *places) as (_, wires):
        assert (await read(wires["controller"]))[1] == 35.5
        assert (tmp_path / "wires" / "balance").is_char_device()


async def test_history_is_the_same_for_the_same_start_and_has_no_seam(small, lms_sim):
    async def rows(begin: str, end: str) -> list[str]:
        code, output, errors = await lms_sim(
            *("history", small, "--bioreactor", "R1", "--started-at", "2026-01-01T12:00:00Z"),
            *("--from", f"2026-01-01T{begin}Z", "--to", f"2026-01-01T{end}Z"),
        )
        assert (code, errors) == (0, "")
        return output.splitlines()[1:]

    whole = await rows("11:50:00", "12:10:00")
    assert whole == await rows("11:50:00", "12:00:00") + await rows("12:00:00", "12:10:00")
    assert len(whole) == 4 * 20 * 12


async def test_damaged_state_is_set_aside_and_the_plant_served(small, serving, tmp_path):
    state = tmp_path / "small.json"
    state.write_text("{half")
    async with serving(small, "--state-dir", tmp_path) as (_, wires):
        assert (await read(wires["controller"]))[1] == 37.0
    assert (tmp_path / "small.json.unusable").read_text() == "{half"


async def test_history_ends_in_what_serve_shows(small, serving, lms_sim, tmp_path):
    async with serving(small, "--state-dir", tmp_path) as (_, wires):
        before = datetime.now(UTC)
        live = await read(wires["controller"])
        after = datetime.now(UTC)
    code, output, _ = await lms_sim(
        *("history", small, "--bioreactor", "R1", "--state-dir", tmp_path, "--period", "1"),
        *("--from", (before - timedelta(seconds=2)).isoformat(), "--to", (after + timedelta(seconds=2)).isoformat()),
    )
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(output)))
    assert set(rows[0]) == {"taken_at", "tag", "value"}
    assert rows[0]["taken_at"].endswith("Z")
    temperatures = [float(row["value"]) for row in rows if row["tag"] == "Temperature/PV"]
    assert live[0] in temperatures, "what was read live is one of the values that history tells"


async def test_history_refuses_nonsense_in_a_sentence(small, lms_sim):
    code, _, errors = await lms_sim(
        *("history", small, "--bioreactor", "R1", "--from", "2026-01-02", "--to", "2026-01-01")
    )
    assert (code, "is not before" in errors) == (2, True)
    code, _, errors = await lms_sim(
        *("history", small, "--bioreactor", "R7", "--from", "2026-01-01", "--to", "2026-01-02")
    )
    assert (code, "known are R1" in errors) == (2, True)
    code, _, errors = await lms_sim(
        *("history", small, "--bioreactor", "R1", "--from", "yesterday", "--to", "2026-01-02")
    )
    assert (code, "'yesterday' is no time" in errors) == (2, True)


async def test_busy_port_is_named(small, serving, lms_sim):
    async with serving(small) as (_, wires):
        port = wires["controller"].split(":")[1]
        small.write_text(PLANT.replace('kind = "modbus-tcp"', f'kind = "modbus-tcp"\nport = {port}'))
        code, _, errors = await lms_sim("serve", small)
    assert code == 2
    assert f"Wire controller cannot be laid at 127.0.0.1:{port}: Address already in use." in errors


async def test_file_in_the_way_of_a_link_is_kept(small, lms_sim, tmp_path):
    (tmp_path / "balance").write_text("mine")
    code, _, errors = await lms_sim("serve", small, "--wires-dir", tmp_path)
    assert (code, "there is a file that is no link" in errors) == (2, True)
    assert (tmp_path / "balance").read_text() == "mine"


async def test_broken_plant_is_told_without_a_traceback(small, lms_sim):
    small.write_text(PLANT.replace("e-coli", "yeti"))
    code, _, errors = await lms_sim("serve", small)
    assert code == 2
    assert "'yeti' is not known" in errors
    assert "Traceback" not in errors


async def test_password_in_the_brokers_address_is_refused(small, lms_sim):
    code, _, errors = await lms_sim("serve", small, "--mqtt-url", "mqtt://sim:hunter2@127.0.0.1")
    assert code == 2
    assert "--mqtt-password-file" in errors
    assert "hunter2" not in errors


async def test_plants_and_show_print_tables_and_json(lms_sim):
    code, output, _ = await lms_sim("plants", "--json")
    assert (code, "demo" in json.loads(output)) == (0, True)
    code, output, _ = await lms_sim("show", "demo")
    assert code == 0
    assert "pH/PV" in output
    assert "low word first" in output
    code, output, _ = await lms_sim("show", "demo", "--json")
    shown = json.loads(output)
    assert [wire["id"] for wire in shown["wires"]] == ["str-1", "str-2", "str-3", "str-3-balance"]
    assert shown["wires"][0]["units"][0]["points"][0]["address"] == 0
