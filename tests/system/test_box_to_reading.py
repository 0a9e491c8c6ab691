"""From the box to the reading: a configuration that says nothing of each instrument but its profile.

The simulator runs as a program with one of each instrument, as they come out of their boxes, on wires of their own;
`lms-agent read` asks them.
"""

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from lms_protocol.instruments.catalogue import Catalogue
from support.patience import awaiting

pytestmark = pytest.mark.system

PROGRAM = "from lms_agent.cli import app; app()"
HEAD = """
[agent]
id = "agent-1"
group = "bench"
log = "log.sqlite3"
[broker]
url = "mqtt://127.0.0.1:1883"
account = "agent-1"
password_file = "secret"
"""
BENCH = [  # wire, kind of line, profile, what is not as it comes
    ("ezo-ph", "serial", "atlas-ezo-ph", ""),
    ("ezo-do", "serial", "atlas-ezo-do", ""),
    ("alicat", "serial", "alicat-ascii", ""),
    ("alicat", "serial", "alicat-ascii", 'unit = "B"\n'),
    ("alicat-modbus", "modbus-rtu", "alicat-modbus", ""),
    ("pumps", "serial", "watson-marlow-520", ""),
    ("pumps", "serial", "watson-marlow-520", "unit = 2\n"),
    ("pump-323", "serial", "watson-marlow-323", ""),
    ("m80", "modbus-rtu", "mettler-m80", ""),
    ("hamilton", "modbus-rtu", "hamilton-arc-ph", '[[instrument.point]]\npoint = "quality"\n'),
    ("hamilton", "modbus-rtu", "hamilton-visiferm-do", "unit = 2\n"),
    ("balance", "serial", "mt-sics-balance", ""),
    (
        "generic",
        "modbus-tcp",
        "generic-modbus",
        '[[instrument.point]]\ntag = "Temp/PV"\nunit = "°C"\naddress = 0\nkind = "int16"\nscale = 0.1\n',
    ),
]
PLAUSIBLE = {  # a vessel of 1.5 L at 37 °C and pH 7, air 1.5 L/min; some probes are worn
    "pH/PV": (6.5, 7.5), "pH/Temp": (36, 38), "DO/PV": (20, 110), "DO/Temp": (36, 38), "Weight/PV": (1000, 2000),
    "Gas/PV": (1.4, 1.6), "Gas/SP": (1.5, 1.5), "Gas/Pressure": (14, 20), "Gas/Temp": (15, 30),
    "Pump/SP": (1, 400), "Temp/PV": (36, 38),
}  # fmt: skip
COMPANIONS = ("/RAW", "/Calibration")
"""Tags that the agent puts beside those that it corrects."""
TRIES = 5
"""A circuit that streams may spoil the first answer; what is refused is asked for again."""


def _tables(wires: dict[str, str]) -> str:
    text, laid = HEAD, set()
    for at, (wire, kind, profile, more) in enumerate(BENCH):
        if wire not in laid:
            laid.add(wire)
            host, _, port = wires[wire].rpartition(":")
            place = f'host = "{host}"\nport = {port}' if kind == "modbus-tcp" else f'port = "{wires[wire]}"'
            text += f'[[bus]]\nid = "{wire}"\nkind = "{kind}"\n{place}\n'
        text += f'[[bioreactor]]\nid = "R{at}"\n'
        text += f'[[instrument]]\nid = "i{at}"\nbus = "{wire}"\nbioreactor = "R{at}"\nprofile = "{profile}"\n{more}'
    return text


@pytest.fixture
def bench(tmp_path: Path):
    """`async with bench() as (wires, read)`: the bench is served; `await read(configuration, *options)` reads it."""
    (tmp_path / "secret").touch(0o600)
    (tmp_path / "secret").write_text("word\n")

    async def read(text: str, *options: str) -> dict:
        (tmp_path / "agent.toml").write_text(text, encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PROGRAM, "read", "--json", tmp_path / "agent.toml", *options),
            stdout=asyncio.subprocess.PIPE,
            cwd=tmp_path,
            env={**os.environ, "NO_COLOR": "1"},
        )
        output, _ = await process.communicate()
        return json.loads(output)

    @asynccontextmanager
    async def serve():
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "lms_firmware_sim", "serve", "bench"),
            *("--state-dir", tmp_path / "state", "--wires-dir", tmp_path / "wires"),
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            async with awaiting("the bench is served"):
                line = await process.stdout.readline()
            yield json.loads(line)["wires"], read
        finally:
            process.terminate()
            await process.communicate()

    return serve


async def test_every_profile_reads_its_instrument_as_it_comes(bench):
    async with bench() as (wires, read):
        missing = {f"i{at}" for at in range(len(BENCH))}
        readings: dict[tuple[str, str], dict] = {}
        for _ in range(TRIES):
            done = await read(_tables(wires), *(f"--instrument={name}" for name in sorted(missing)))
            for reading in done["readings"]:
                readings[reading["instrument"], reading["tag"]] = reading
            missing -= {each["instrument"] for each in done["instruments"] if not each["errors"]}
            if not missing:
                break
        assert not missing, done
    for (_, tag), reading in readings.items():
        assert reading["quality"] == "GOOD", reading
        low, high = PLAUSIBLE.get(tag, (0, 10**9))
        assert low <= reading["value"] <= high, reading
    catalogue = Catalogue()
    for at, (_, _, profile, more) in enumerate(BENCH):
        wanted = [point for point in catalogue.get(profile).points if point.default or point.name in more]
        expected = {(point.tag, point.unit) for point in wanted}
        found = {(tag, reading["unit"]) for (name, tag), reading in readings.items() if name == f"i{at}"}
        found = {(tag, unit) for tag, unit in found if not tag.endswith(COMPANIONS)}
        assert found == (expected or {("Temp/PV", "°C")})


async def test_swapped_units_and_units_of_measure_give_no_reading(bench):
    async with bench() as (wires, read):
        port = wires["hamilton"]
        line = f'[[bioreactor]]\nid = "R1"\n[[bus]]\nid = "l"\nkind = "modbus-rtu"\nport = "{port}"\n'
        sensor = '[[instrument]]\nid = "{0}"\nbus = "l"\nbioreactor = "R1"\nprofile = "{1}"\nunit = 2\n{2}'
        in_mg = '[[instrument.point]]\npoint = "DO"\nunit = "mg/L"\n[[instrument.point]]\npoint = "temperature"\n'
        text = HEAD + line + sensor.format("ph", "hamilton-arc-ph", "")
        done = await read(text + sensor.format("mg", "hamilton-visiferm-do", in_mg))
    assert [(each["instrument"], each["tag"]) for each in done["readings"]] == [("mg", "DO/Temp")]
    told = {each["instrument"]: str(each["errors"]) for each in done["instruments"]}
    assert "ODOUM102, which is no hamilton-arc-ph" in told["ph"]
    assert "DO/PV" in told["mg"]
    assert "%" in told["mg"]
