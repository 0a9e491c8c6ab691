"""Every setting is documented, and the example that people start from is good."""

from pathlib import Path

import pytest
from lms_agent.settings import derived, load_settings, model
from lms_agent.settings.dialects import alicat, ezo, modbus, mt_sics, watson_marlow
from lms_protocol.instruments import registers

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "agent-configuration.md").read_text(encoding="utf-8")
MODELS = [
    model.AgentSection,
    model.BrokerSection,
    model.CommandsSection,
    model.BioreactorSettings,
    model.ModbusRtuBus,
    model.ModbusTcpBus,
    model.SerialBus,
    modbus.ModbusInstrument,
    registers.RegisterBlock,
    modbus.RegisterPoint,
    registers.StatusWord,
    registers.StatusCondition,
    registers.UnitCode,
    registers.UnitName,
    mt_sics.MtSicsInstrument,
    mt_sics.CommandPoint,
    ezo.EzoInstrument,
    ezo.EzoPoint,
    alicat.AlicatInstrument,
    alicat.AlicatPoint,
    watson_marlow.WatsonMarlowInstrument,
    watson_marlow.PumpPoint,
    derived.DerivedTag,
]


@pytest.mark.parametrize("described", MODELS, ids=lambda one: one.__name__)
def test_every_key_has_a_row(described):
    rows = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("|")]
    keys = [field.alias or name for name, field in described.model_fields.items()]
    assert [key for key in keys if not any(f"`{key}`" in row or f".{key}`" in row for row in rows)] == []


def test_example_is_good(tmp_path):
    text = (ROOT / "config" / "agent.example.toml").read_text(encoding="utf-8")
    (tmp_path / "agent.toml").write_text(text, encoding="utf-8")
    (tmp_path / "agent-1.secret").touch(0o600)
    (tmp_path / "agent-1.secret").write_text("correct horse")
    assert len(load_settings(tmp_path / "agent.toml").instruments) == 4
