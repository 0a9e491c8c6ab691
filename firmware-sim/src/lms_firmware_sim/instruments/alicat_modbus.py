"""The same Alicat mass-flow controller with Modbus registers.

The manual counts from 1; on the wire an address is one less. Floats have the high word first. Command 1000 with its
argument 1001 (read back: the command and its result), set point 1010, gas 1200, status bits 1201, pressure 1203,
temperature 1205, volumetric flow 1207, mass flow 1209. Functions 3, 6 and 16.
Source: Alicat, M-series manual, January 2023, pp. 33-35.
"""

from collections.abc import Sequence
from enum import IntEnum, IntFlag

from lms_firmware_sim.errors import SetPointRefused
from lms_firmware_sim.instruments.flow_controller import FlowController
from lms_firmware_sim.wires.encoding import decode
from lms_firmware_sim.wires.registers import IllegalAddress, IllegalValue, RegisterMap, Table

COMMAND, ARGUMENT, SET_POINT, GAS = 1000 - 1, 1001 - 1, 1010 - 1, 1200 - 1
STATUS, PRESSURE, TEMPERATURE, VOLUMETRIC_FLOW, MASS_FLOW = 1201 - 1, 1203 - 1, 1205 - 1, 1207 - 1, 1209 - 1


class Command(IntEnum):
    """What register 1000 can ask for."""

    CHANGE_GAS = 1
    TARE = 4
    VALVE = 6
    DISPLAY_LOCK = 7
    SAVE_SET_POINT = 12


class Result(IntEnum):
    """What register 1001 then answers."""

    SUCCESS = 0
    INVALID_COMMAND = 32_769
    INVALID_SETTING = 32_770


class StatusBit(IntFlag):
    """Bits of register 1201."""

    MASS_OVERFLOW = 1 << 4
    HOLD = 1 << 8


class AlicatRegisters(RegisterMap):
    """The registers of one controller.

    Args:
        controller: what it controls.
    """

    def __init__(self, controller: FlowController) -> None:
        super().__init__(before_read=self._refresh)
        self.controller = controller
        self.put(COMMAND, 0)
        self.put(ARGUMENT, 0)
        self._refresh()

    def _refresh(self) -> None:
        controller = self.controller
        bits = StatusBit.MASS_OVERFLOW if controller.is_overflowing else StatusBit(0)
        bits |= StatusBit.HOLD if controller.is_held else StatusBit(0)
        self.put(GAS, controller.gas)
        self.put(STATUS, bits, "uint32")
        for address, value in (
            (SET_POINT, controller.set_point_l_min),
            (PRESSURE, controller.pressure_psi),
            (TEMPERATURE, controller.temperature_c),
            (VOLUMETRIC_FLOW, controller.volumetric_flow_l_min),
            (MASS_FLOW, controller.mass_flow_l_min),
        ):
            self.put(address, value, "float32")

    def write(self, table: Table, address: int, words: Sequence[int]) -> None:
        """Take over a set point, a gas, or a command with its argument, each whole; nothing else.

        Raises:
            IllegalAddress: the registers are no setting, or half of one.
            IllegalValue: the controller refuses the value.
        """
        match table, address, len(words):
            case "holding", int(place), 2 if place == SET_POINT:
                self._write_set_point(decode(words, "float32"))
            case "holding", int(place), 1 if place == GAS:
                if not self.controller.select_gas(words[0]):
                    raise IllegalValue
            case "holding", int(place), 2 if place == COMMAND:
                self.put(COMMAND, words[0])
                self.put(ARGUMENT, self._carry_out(words[0], words[1]))
            case _:
                raise IllegalAddress

    def _write_set_point(self, value: float) -> None:
        try:
            self.controller.write_set_point(value)
        except SetPointRefused as refused:
            raise IllegalValue from refused

    def _carry_out(self, command: int, argument: int) -> Result:
        controller = self.controller
        match command:
            case Command.CHANGE_GAS:
                return Result.SUCCESS if controller.select_gas(argument) else Result.INVALID_SETTING
            case Command.TARE if argument in (0, 1, 2):
                if argument == 2:
                    controller.tare()
            case Command.VALVE if argument in (0, 1, 2):
                controller.is_held = argument != 0
            case Command.DISPLAY_LOCK if argument in (0, 1):
                controller.is_locked = argument == 1
            case Command.SAVE_SET_POINT if argument == 0:
                pass
            case _:
                return Result.INVALID_SETTING if command in set(Command) else Result.INVALID_COMMAND
        return Result.SUCCESS
