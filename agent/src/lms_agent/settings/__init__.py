"""The agent's configuration: one TOML file, checked whole before anything starts.

    model.py         what may stand in the file (frozen pydantic models)
    points.py        the points of an instrument: registers, commands
    derived.py       tags that are computed from others
    processing.py    what may be done with readings
    commanding.py    which set points may be written
    consistency.py   what no single table can know: references, duplicates, overlaps
    loading.py       file → `AgentSettings`, or one `SettingsError` with every problem

How problems are found and said is `lms_protocol.checked_toml`'s job. Loaded once by the command line and passed down.
"""

from lms_agent.settings.loading import DEFAULT_PATH, PATH_VARIABLE, default_path, load_settings
from lms_agent.settings.model import (
    AgentSection,
    AgentSettings,
    BioreactorSettings,
    BrokerSection,
    BusSettings,
    InstrumentSettings,
    ModbusInstrument,
    ModbusRtuBus,
    ModbusTcpBus,
    MtSicsInstrument,
    SerialBus,
)
from lms_agent.settings.points import CommandPoint, RegisterPoint

__all__ = [
    "DEFAULT_PATH",
    "PATH_VARIABLE",
    "AgentSection",
    "AgentSettings",
    "BioreactorSettings",
    "BrokerSection",
    "BusSettings",
    "CommandPoint",
    "InstrumentSettings",
    "ModbusInstrument",
    "ModbusRtuBus",
    "ModbusTcpBus",
    "MtSicsInstrument",
    "RegisterPoint",
    "SerialBus",
    "default_path",
    "load_settings",
]
