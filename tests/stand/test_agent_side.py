"""The demo's agents read what its plant offers, register by register."""

import pytest
from lms_agent.settings import load_settings
from lms_agent.settings.dialects.modbus import ModbusInstrument
from lms_firmware_sim.plants import load_plant
from lms_firmware_sim.stand.agent_side import AgentSide
from lms_firmware_sim.stand.cloud_side import AGENTS
from lms_firmware_sim.stand.layout import Layout
from lms_firmware_sim.stand.outside import BrokerAccess
from lms_firmware_sim.stand.plant_side import PlantSide


@pytest.fixture
def plant(tmp_path):
    layout = Layout(tmp_path / 'a "quoted" place' / ".demo")
    layout.make()
    side = PlantSide(layout, {"str-1": 15021, "str-3": 15023})
    side.configure()
    return layout, side


@pytest.fixture(params=AGENTS)
def settings(request, plant):
    layout, side = plant
    agent = AgentSide(layout, request.param)
    access = BrokerAccess("mqtt://127.0.0.1:18830", request.param, "its password")
    agent.configure(access, {**side.facts(), "group": "demo-org", "primary_host": "lms-cloud"})
    assert agent.configuration.stat().st_mode & 0o777 == 0o600
    return load_settings(agent.configuration)


def test_each_agent_serves_its_bioreactors_with_its_own_account(settings):
    assert [bioreactor.id for bioreactor in settings.bioreactors] == list(AGENTS[settings.agent.id])
    assert settings.broker.account == settings.agent.id
    assert settings.broker.read_password() == "its password"


def test_every_point_is_where_the_plant_has_it(settings, plant):
    described = load_plant(plant[0].simulator / "plant.toml")
    wires = {wire.id: wire for wire in described.wire}
    for instrument in settings.instruments:
        wire = wires[instrument.bus]
        if not isinstance(instrument, ModbusInstrument):
            assert wire.kind == "mt-sics"
            assert wire.bioreactor == instrument.bioreactor
            continue
        unit = next(unit for unit in wire.unit if unit.unit == instrument.unit)
        assert unit.bioreactor == instrument.bioreactor
        offered = {point.tag: point for point in unit.points() if point.tag is not None}
        assert {point.tag for point in instrument.points} == set(offered)
        for point in instrument.points:
            there = offered[point.tag]
            assert point.register_ == there.table, point.tag
            assert (point.address, point.kind, point.scale) == (there.address, there.kind, there.scale), point.tag
            assert point.width == 1 or point.word_order == there.word_order, point.tag
            assert point.unit == there.unit, point.tag
            assert (point.access == "write") == there.writable, point.tag
