"""The profile of an instrument model: everything that has to be known of it, in one strict, frozen model per dialect.

Between the TOML file (`catalogue.py` reads it) and everybody who asks: the agent's configuration, `scan`, `calibrate`,
the pages in docs/instruments (`describing.py`).
"""

from typing import TypeAlias

from pydantic import Field

from lms_protocol.checked_toml.findings import Checked
from lms_protocol.instruments.lines_profile import AlicatProfile, BalanceProfile, EzoProfile, PumpProfile
from lms_protocol.instruments.points import AlicatPoint, BalancePoint, EzoPoint, ModbusProfilePoint, PumpPoint
from lms_protocol.instruments.registers_profile import ModbusProfile

Profile: TypeAlias = ModbusProfile | BalanceProfile | EzoProfile | AlicatProfile | PumpProfile
AnyPoint: TypeAlias = ModbusProfilePoint | BalancePoint | EzoPoint | AlicatPoint | PumpPoint


class ProfileFile(Checked):
    """A file that is one profile; wraps the choice among dialects, which `driver` makes."""

    profile: Profile = Field(discriminator="driver")
