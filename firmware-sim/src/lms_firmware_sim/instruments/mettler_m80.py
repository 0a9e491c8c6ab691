"""A Mettler Toledo M80 transmitter with a pH electrode: four floats, high word first, to be read with function 3.

Wire addresses 100 pH, 102 temperature in °C, 104 the electrode's voltage in V, 106 ORP in mV. Nothing is known of
registers that calibrate it: that is done at its display, or in whoever reads it. 38400 8N1.
Source: reported by PyPI fermy; no public manual of the map was found.
"""

from collections.abc import Sequence

from lms_firmware_sim.instruments.ph_electrode import PhCalibration, PhElectrode
from lms_firmware_sim.wires.registers import IllegalAddress, RegisterMap, Table

PH, TEMPERATURE, VOLTAGE, ORP = 100, 102, 104, 106
_ORP_AT_PH_7_MV, _ORP_MV_PER_PH = 210.0, -59.0
"""A redox electrode in an aerated broth: about 0.2 V, and lower where the pH is higher."""


class MettlerM80(RegisterMap):
    """The registers of one transmitter, with the electrode believed to be perfect.

    Args:
        electrode: what it measures with.
    """

    def __init__(self, electrode: PhElectrode) -> None:
        super().__init__(before_read=self._refresh)
        self.electrode = electrode
        self._refresh()

    def _refresh(self) -> None:
        electrode = self.electrode
        ph = PhCalibration().ph(electrode.potential_mv, electrode.temperature_c)
        orp_mv = _ORP_AT_PH_7_MV + _ORP_MV_PER_PH * (electrode.immersion.value("ph") - 7.0)
        for address, value in (
            (PH, ph),
            (TEMPERATURE, electrode.temperature_c),
            (VOLTAGE, electrode.potential_mv / 1000.0),
            (ORP, orp_mv),
        ):
            self.put(address, value, "float32")

    def write(self, table: Table, address: int, words: Sequence[int]) -> None:
        """Nothing can be written.

        Raises:
            IllegalAddress: always.
        """
        raise IllegalAddress
