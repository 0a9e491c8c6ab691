"""The agent's configuration: one TOML file, checked whole before anything starts.

    model.py         what may stand in the file (frozen pydantic models)
    points.py        what all points of instruments have in common
    dialects/        instruments and points, one file per dialect
    companions.py    the tags beside one that is calibrated
    derived.py       tags that are computed from others
    processing.py    what may be done with readings
    commanding.py    which set points may be written
    consistency.py   what no single table can know: references, duplicates, overlaps
    expanding.py     what the profile of an instrument says, put in before the check
    profile_points.py  each point of a profile, and what the file says of it
    line_defaults.py what a line is set to if the file does not say
    loading.py       file → `AgentSettings`, or one `SettingsError` with every problem

How problems are found and said is `lms_protocol.checked_toml`'s job. Loaded once by the command line and passed down.
"""

from lms_agent.settings.dialects import InstrumentSettings
from lms_agent.settings.dialects.alicat import AlicatInstrument, AlicatPoint
from lms_agent.settings.dialects.ezo import EzoInstrument, EzoPoint
from lms_agent.settings.dialects.modbus import ModbusInstrument, RegisterPoint
from lms_agent.settings.dialects.mt_sics import CommandPoint, MtSicsInstrument
from lms_agent.settings.dialects.watson_marlow import PumpPoint, WatsonMarlowInstrument
from lms_agent.settings.loading import DEFAULT_PATH, PATH_VARIABLE, default_path, load_settings
from lms_agent.settings.model import (
    AgentSection,
    AgentSettings,
    BioreactorSettings,
    BrokerSection,
    BusSettings,
    ModbusRtuBus,
    ModbusTcpBus,
    SerialBus,
)

__all__ = [
    "DEFAULT_PATH",
    "PATH_VARIABLE",
    "AgentSection",
    "AgentSettings",
    "AlicatInstrument",
    "AlicatPoint",
    "BioreactorSettings",
    "BrokerSection",
    "BusSettings",
    "CommandPoint",
    "EzoInstrument",
    "EzoPoint",
    "InstrumentSettings",
    "ModbusInstrument",
    "ModbusRtuBus",
    "ModbusTcpBus",
    "MtSicsInstrument",
    "PumpPoint",
    "RegisterPoint",
    "SerialBus",
    "WatsonMarlowInstrument",
    "default_path",
    "load_settings",
]
