"""A serial line (a pseudo-terminal) with a balance on it that speaks MT-SICS.

Neighbours: `mt_sics` is the balance, `text_wire` its line.
"""

from collections.abc import Callable
from pathlib import Path

from lms_firmware_sim.wires.mt_sics import Balance
from lms_firmware_sim.wires.text_wire import TextWire


class BalanceWire(TextWire):
    """One balance on one serial line. Arguments as of `Balance` and of `TextWire`.

    Attributes:
        balance: the balance itself.
    """

    def __init__(
        self,
        weight_g: float | Callable[[], float] = 100.0,
        *,
        is_stable: bool | Callable[[], bool] = True,
        capacity_g: float = 32_000.0,
        decimals: int = 2,
        unit_shown: str = "g",
        serial_number: str = "B123456789",
        stable_within_s: float = 3.0,
        repeat_s: float = 0.1,
        link: Path | str | None = None,
        baud: int = 9600,
        pace: bool = False,
        name: str = "mt-sics",
        seed: int = 0,
    ) -> None:
        self.balance = Balance(
            weight_g,
            is_stable=is_stable,
            capacity_g=capacity_g,
            decimals=decimals,
            unit_shown=unit_shown,
            serial_number=serial_number,
            stable_within_s=stable_within_s,
            repeat_s=repeat_s,
        )
        super().__init__([self.balance], command_end=b"\n", link=link, baud=baud, pace=pace, name=name, seed=seed)

    @property
    def weight_g(self) -> float | Callable[[], float]:
        """What lies on the pan: a number, or a function that gives the present one."""
        return self.balance.weight_g

    @weight_g.setter
    def weight_g(self, weight_g: float | Callable[[], float]) -> None:
        self.balance.weight_g = weight_g

    @property
    def is_stable(self) -> bool | Callable[[], bool]:
        """Whether the weight is at rest: a flag, or a function."""
        return self.balance.is_stable

    @is_stable.setter
    def is_stable(self, is_stable: bool | Callable[[], bool]) -> None:
        self.balance.is_stable = is_stable
