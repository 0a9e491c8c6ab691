"""How a point is calibrated: against what, when it is stable, what is plausible, and who keeps the result.

Neighbours: `points.py` hangs a procedure on a point; `lms_agent.calibration` follows it.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from lms_protocol.checked_toml.findings import Checked, Wrong
from lms_protocol.instruments.registers import Order, RegisterBlock, StatusWord
from lms_protocol.instruments.wording import Pattern, Template


class RegisterWrite(Checked):
    """Numbers that are written to holding registers in one request (function 16).

    `values` may hold the word "reference": the value of the reference at which the instrument is calibrated.
    """

    address: int = Field(ge=0, le=65535)
    kind: Literal["int16", "uint16", "int32", "uint32", "float32"] = "uint16"
    word_order: Order = "big"
    byte_order: Order = "big"
    values: Annotated[tuple[float | int | Literal["reference"], ...], Field(strict=False, min_length=1, max_length=60)]


class Step(Checked):
    """One thing that is told to the instrument: registers to write, or a command to send.

    A command may hold `{value}` (the reference's value), with a form such as `{value:.2f}`, and `{unit}` (the address
    of the instrument on its line). `answer` is a regular expression that its answer must match.
    """

    write: RegisterWrite | None = None
    command: Template | None = None
    answer: Pattern | None = None
    wait_s: float = Field(0.0, ge=0, le=600)

    def _contradictions(self) -> Iterator[Wrong]:
        yield from super()._contradictions()
        if (self.write is None) == (self.command is None):
            found = "neither of write and command" if self.write is None else "both write and command"
            yield "", found, "one of them"


class Reference(Checked):
    """A known value against which the point is held: a buffer, a gas, a weight.

    `minimum` and `maximum` are the values that may stand in for `value`. `steps` is what the instrument is told when
    its reading is stable; empty if the agent keeps the calibration.
    """

    name: str = Field(min_length=1, max_length=40)
    value: float
    minimum: float
    maximum: float
    words: str = Field("", max_length=200)
    steps: Annotated[tuple[Step, ...], Field(strict=False, alias="step")] = ()

    def _contradictions(self) -> Iterator[Wrong]:
        yield from super()._contradictions()
        if not self.minimum <= self.value <= self.maximum:
            yield "value", f"{self.value:g}", f"within minimum = {self.minimum:g} and maximum = {self.maximum:g}"


class Stability(Checked):
    """When a reading counts as stable: over `window_s` it moves no faster than `drift_per_min` (the point's unit).

    After `patience_s` without that, the technician is asked whether to go on.
    """

    window_s: float = Field(gt=0, le=3600)
    drift_per_min: float = Field(gt=0)
    patience_s: float = Field(300.0, gt=0, le=7200)


class Plausible(Checked):
    """The range in which a figure of a calibration is believed."""

    minimum: float
    maximum: float

    def _contradictions(self) -> Iterator[Wrong]:
        yield from super()._contradictions()
        if not self.minimum < self.maximum:
            yield "maximum", f"{self.maximum:g}", f"more than minimum = {self.minimum:g}"


class Verdict(StatusWord):
    """What the instrument says of a calibration afterwards: a status word, read as `block` if it must be."""

    block: RegisterBlock | None = None


class Procedure(Checked):
    """`[point.calibration]`: how the point is calibrated.

    `kind = "instrument"`: the instrument is told each reference and keeps the result. `kind = "agent"`: the agent
    corrects what it reads.

    `slope_percent`: how much of a true difference the instrument shows, in percent; for pH, of Nernst's slope
    (`nernst`). `offset`: what it shows too much, in the point's unit: at pH 7 for pH, at zero for all others.

    `before` and `after` are told to the instrument around each calibration (rights that it wants, back again at the
    end). `verdict` is what it says of a calibration afterwards.
    """

    source: str
    page: str = ""
    kind: Literal["instrument", "agent"]
    references: Annotated[tuple[Reference, ...], Field(strict=False, alias="reference", min_length=1)]
    stability: Stability
    slope_percent: Plausible | None = None
    nernst: bool = False
    offset: Plausible | None = None
    due_days: float | None = Field(None, gt=0, le=3660)
    before: Annotated[tuple[Step, ...], Field(strict=False)] = ()
    after: Annotated[tuple[Step, ...], Field(strict=False)] = ()
    verdict: Verdict | None = None
    notes: Annotated[tuple[str, ...], Field(strict=False)] = ()

    def _contradictions(self) -> Iterator[Wrong]:
        yield from super()._contradictions()
        names = [reference.name for reference in self.references]
        for at, reference in enumerate(self.references):
            if reference.name in names[:at]:
                yield f"reference.{at}.name", f'"{reference.name}" a second time', "a name that no other reference has"
            if self.kind == "instrument" and not reference.steps:
                allowed = 'what the instrument is told, for kind = "instrument"'
                yield f"reference.{at}.step", "nothing", allowed
            if self.kind == "agent" and reference.steps:
                yield f"reference.{at}.step", "steps", 'no steps with kind = "agent": the instrument is told nothing'
        if self.kind == "agent" and (self.before or self.after or self.verdict):
            yield "kind", '"agent" with before, after or verdict', "none of them: the instrument is told nothing"
