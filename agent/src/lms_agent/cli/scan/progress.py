"""How far a scan is: on a terminal only, in one line that goes away."""

import sys

import typer

from lms_agent.cli.screen.tables import cut
from lms_agent.scanning.settings_order import LineSetting

_OVERHEAD = 1.4  # sending, and the silence behind each question
_CELLS = 76


class Progress:
    """A line on standard error.

    Args:
        steps: how many questions are asked at most.
        timeout_s: what each takes at most.
        quiet: for programs.
    """

    def __init__(self, steps: int, timeout_s: float, *, quiet: bool) -> None:
        self._shown = not quiet and sys.stderr.isatty()
        self._left = steps
        self._step_s = timeout_s * _OVERHEAD

    def asking(self, setting: LineSetting | None, what: str) -> None:
        """One more question."""
        self._left -= 1
        at = "" if setting is None else f"{setting}, "
        self.tell(f"{at}{what} …  at most {max(0, self._left) * self._step_s:.0f} s more; Ctrl-C ends it")

    def tell(self, text: str) -> None:
        """Something else."""
        if self._shown:
            typer.echo(f"\r  {cut(text, _CELLS):<{_CELLS}}", err=True, nl=False)

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            typer.echo(f"\r{'':<{_CELLS + 2}}\r", err=True, nl=False)
