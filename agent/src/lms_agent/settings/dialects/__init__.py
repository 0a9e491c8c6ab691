"""How each kind of instrument is asked: one small file per dialect.

    instrument.py       what all instruments have in common
    modbus.py           registers and coils, with status words and unit codes
    mt_sics.py          Mettler Toledo balances
    ezo.py              Atlas Scientific EZO circuits
    alicat.py           Alicat mass-flow instruments
    watson_marlow.py    Watson-Marlow pumps

All are resolved: whatever a profile says of an instrument stands in its points already, and nothing that reads them
asks whether there was one. Neighbours: `lms_agent.settings.loading` fills them, `lms_agent.drivers` reads them.
"""

from typing import Annotated, TypeAlias

from lms_protocol.checked_toml.explaining import among
from pydantic import Discriminator, Tag

from lms_agent.settings.dialects.alicat import AlicatInstrument
from lms_agent.settings.dialects.ezo import EzoInstrument
from lms_agent.settings.dialects.modbus import ModbusInstrument
from lms_agent.settings.dialects.mt_sics import MtSicsInstrument
from lms_agent.settings.dialects.watson_marlow import WatsonMarlowInstrument

TEXT_DRIVERS = ("mt-sics", "ezo", "alicat", "watson-marlow")
"""Drivers for serial lines of text."""
ADDRESSED_DRIVERS = ("alicat", "watson-marlow")
"""Those of them whose instruments may share a line: each has a `unit` of its own."""
DRIVERS = ("modbus", *TEXT_DRIVERS)


def instrument_driver(table: object) -> str:
    """The driver that an instrument's table asks for; Modbus if it does not say."""
    driver = table.get("driver", "modbus") if isinstance(table, dict) else getattr(table, "driver", "modbus")
    return driver if isinstance(driver, str) else "?"


InstrumentSettings: TypeAlias = Annotated[
    Annotated[ModbusInstrument, Tag("modbus")]
    | Annotated[MtSicsInstrument, Tag("mt-sics")]
    | Annotated[EzoInstrument, Tag("ezo")]
    | Annotated[AlicatInstrument, Tag("alicat")]
    | Annotated[WatsonMarlowInstrument, Tag("watson-marlow")],
    Discriminator(
        instrument_driver,
        custom_error_type="lms",
        custom_error_message="unknown driver",
        custom_error_context={"findings": (("driver", "", among(DRIVERS)),)},
    ),
]
