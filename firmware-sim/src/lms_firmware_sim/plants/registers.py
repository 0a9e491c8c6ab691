"""Instruments of a plant's file that have Modbus registers of their own: `[wire.unit.instrument]`."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from lms_firmware_sim.plants.strict import Strict


class AlicatRegistersDescription(Strict):
    """`kind = "alicat"`: a mass-flow controller; acts on `AirFlow/SP`, feels `AirFlow/PV`.

    Attributes:
        full_scale_l_min: largest set point.
        zero_l_min: what it shows without flow, until it is tared.
    """

    kind: Literal["alicat"]
    full_scale_l_min: float = Field(default=20.0, gt=0, le=5000)
    zero_l_min: float = Field(default=0.0, ge=-1, le=1)


class PhElectrodeDescription(Strict):
    """An instrument with a pH electrode; feels `pH/PV` and `pH/Temperature`.

    Attributes:
        slope_percent, offset_mv: the electrode's age; 100 and 0 when new.
    """

    slope_percent: float = Field(default=100.0, ge=10, le=110)
    offset_mv: float = Field(default=0.0, ge=-100, le=100)


class MettlerM80Description(PhElectrodeDescription):
    """`kind = "mettler-m80"`: a transmitter with a pH electrode."""

    kind: Literal["mettler-m80"]


class HamiltonPhDescription(PhElectrodeDescription):
    """`kind = "hamilton-ph"`: a Hamilton Arc pH sensor."""

    kind: Literal["hamilton-ph"]


class HamiltonDoDescription(Strict):
    """`kind = "hamilton-do"`: a Hamilton VisiFerm DO sensor; feels `DO/PV` and `DO/Temperature`.

    Attributes:
        gain, zero_percent: the probe's age; 1 and 0 when new.
    """

    kind: Literal["hamilton-do"]
    gain: float = Field(default=1.0, ge=0.1, le=2)
    zero_percent: float = Field(default=0.0, ge=-10, le=10)


RegisterInstrument: TypeAlias = Annotated[
    AlicatRegistersDescription | MettlerM80Description | HamiltonPhDescription | HamiltonDoDescription,
    Field(discriminator="kind"),
]
