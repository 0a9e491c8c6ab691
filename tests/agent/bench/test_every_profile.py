"""From the box to a reading: one of each instrument that has a profile, read and set as its profile says."""

import re
from datetime import UTC, datetime

import pytest
from lms_agent.bench import opened
from lms_agent.settings import load_settings
from lms_agent.settings.companions import companion_tags
from lms_firmware_sim.plants import load_plant, shipped_plants
from lms_firmware_sim.simulated import SimulatedPlant
from lms_protocol.instruments.catalogue import Catalogue
from lms_protocol.reading import Quality

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

HEAD = """
[agent]
id = "agent-1"
group = "acme"
log = "log.sqlite"

[broker]
url = "mqtt://broker"
account = "agent-1"
password_file = "secret"
"""

SERIAL = '\n[[bus]]\nid = "{id}"\nkind = "{kind}"\nport = "{port}"\nbaud = {baud}\nstop_bits = {stop_bits}\n'
LINES = {
    "ezo-ph": ("serial", 9600, 1),
    "ezo-do": ("serial", 9600, 1),
    "alicat": ("serial", 19200, 1),
    "alicat-modbus": ("modbus-rtu", 19200, 1),
    "pumps": ("serial", 9600, 2),
    "pump-323": ("serial", 9600, 2),
    "m80": ("modbus-rtu", 38400, 1),
    "hamilton": ("modbus-rtu", 19200, 2),
    "balance": ("serial", 9600, 1),
}
INSTRUMENTS = [  # profile, bus, further keys
    ("atlas-ezo-ph", "ezo-ph", "temperature_c = 37.0"),
    ("atlas-ezo-do", "ezo-do", ""),
    ("alicat-ascii", "alicat", ""),
    ("alicat-ascii", "alicat", 'unit = "B"'),
    ("alicat-modbus", "alicat-modbus", ""),
    ("watson-marlow-520", "pumps", ""),
    ("watson-marlow-520", "pumps", "unit = 2"),
    ("watson-marlow-323", "pump-323", ""),
    ("mettler-m80", "m80", ""),
    ("hamilton-arc-ph", "hamilton", ""),
    ("hamilton-visiferm-do", "hamilton", "unit = 2"),
    ("mt-sics-balance", "balance", ""),
]


@pytest.fixture
async def plant():
    async with SimulatedPlant(load_plant(shipped_plants()["bench"]), clock=NOW.timestamp) as served:
        for wire in ("ezo-ph", "ezo-do"):
            circuit = served.instruments.on_text_wires[wire][0]
            circuit.reading_s = circuit.setting_s = 0.0
        yield served


@pytest.fixture
def settings(plant, tmp_path):
    """Every instrument of the bench with all its points, each in a bioreactor of its own: tags do not meet."""
    text = HEAD
    for wire, (kind, baud, stop_bits) in LINES.items():
        port = plant.wires[wire].address
        text += SERIAL.format(id=wire, kind=kind, port=port, baud=baud, stop_bits=stop_bits)
    for number, (profile, bus, more) in enumerate(INSTRUMENTS):
        text += f'\n[[bioreactor]]\nid = "R{number}"\n'
        text += f'\n[[instrument]]\nid = "{profile}-{number}"\nprofile = "{profile}"\nbus = "{bus}"\n'
        text += f'bioreactor = "R{number}"\nperiod_s = 5.0\n{more}\n'
        for point in Catalogue().get(profile).points:
            asks_too_much = point.name == "temperature" and "temperature_c" in more
            if not point.default and not asks_too_much:
                text += f'[[instrument.point]]\npoint = "{point.name}"\n'
    (tmp_path / "secret").touch(0o600)
    (tmp_path / "secret").write_text("correct horse")
    (tmp_path / "agent.toml").write_text(text)
    return load_settings(tmp_path / "agent.toml")


def test_every_packaged_profile_is_tried_here():
    tried = {profile for profile, _, _ in INSTRUMENTS}
    assert {profile.id for profile in Catalogue()} - tried == {"generic-modbus"}


async def test_every_instrument_is_read_as_its_profile_says(plant, settings):
    async with opened(settings, settings.instruments) as bench:
        visits = {visit.instrument: visit for visit in await bench.read()}
    assert {name: visit.failures for name, visit in visits.items() if visit.failures} == {}
    for instrument in settings.instruments:
        visit = visits[instrument.id]
        beside = {tag.name for point in instrument.points for tag in companion_tags("R1", point)}
        assert {reading.tag for reading in visit.readings} == {point.tag for point in instrument.points} | beside
        for reading in visit.readings:
            assert reading.quality is Quality.GOOD or reading.remark, f"{instrument.id} {reading}"
    reactor = plant.bioreactors["R1"]
    values = {
        re.sub(r"-\d+$", "", name): {reading.tag: reading.value for reading in visit.readings}
        for name, visit in visits.items()
    }
    oxygen = reactor.reading("DO/PV")
    assert values["hamilton-visiferm-do"]["DO/PV"] == pytest.approx(0.8 + 0.9 * oxygen, abs=1.0)
    assert values["atlas-ezo-do"]["DO/PV"] == pytest.approx(0.6 + 0.94 * oxygen, abs=1.0)
    assert values["mettler-m80"]["pH/PV"] == pytest.approx(reactor.reading("pH/PV"), abs=0.4)
    assert values["alicat-modbus"]["Gas/PV"] == pytest.approx(values["alicat-ascii"]["Gas/PV"], abs=0.02)


async def test_every_set_point_is_written_confirmed_and_read_back(settings):
    async with opened(settings, settings.instruments) as bench:
        for instrument in settings.instruments:
            for point in instrument.points:
                if point.access != "write":
                    continue
                value = {"BOOLEAN": True, "STRING": "CCW"}.get(point.datatype.name, 2.0)
                written = await bench.write(instrument.bioreactor, point.tag, value)
                assert written == (True, value, value, ""), f"{instrument.id} {point.tag}"
