"""How a point is calibrated, as a part of the page of its profile; called by `describing.py`."""

from collections.abc import Iterator, Sequence

from lms_protocol.instruments.calibration import Procedure, Reference, Step
from lms_protocol.instruments.describing_parts import FUNCTIONS, coding, meanings, source_words, table
from lms_protocol.instruments.model import AnyPoint, Profile


def calibration(profile: Profile, point: AnyPoint) -> Iterator[str]:
    """The section of a point; none if it is not calibrated."""
    procedure = point.calibration
    if procedure is None:
        return
    keeper = "the instrument keeps it" if procedure.kind == "instrument" else "the agent keeps it, and the raw value"
    yield from (f"## Calibration of {point.name}", "")
    yield f"`lms-agent calibrate` leads through it; {keeper} ({source_words(profile, procedure)})."
    yield ""
    rows = [
        (f"`{each.name}`", each.words, f"{each.value:g}", _alternatives(each), _told(each.steps))
        for each in procedure.references
    ]
    yield from table(("reference", "", f"value, {point.unit}", "may be", "told to the instrument"), rows)
    yield ""
    yield from (f"- {line}" for line in (*_rules(procedure, point.unit), *procedure.notes))
    yield ""
    if procedure.verdict is not None and procedure.verdict.conditions:
        yield from meanings(procedure.verdict, "the calibration is")


def _alternatives(reference: Reference) -> str:
    if reference.minimum == reference.maximum:
        return ""
    return f"{reference.minimum:g} to {reference.maximum:g}"


def _rules(procedure: Procedure, unit: str) -> Iterator[str]:
    stability = procedure.stability
    yield f"stable: no more than {stability.drift_per_min:g} {unit} a minute over {stability.window_s:g} s"
    if procedure.slope_percent is not None:
        of = "of Nernst's slope" if procedure.nernst else "of the true difference"
        yield f"plausible slope: {procedure.slope_percent.minimum:g} to {procedure.slope_percent.maximum:g} % {of}"
    if procedure.offset is not None:
        at = " at pH 7" if procedure.nernst else ""
        yield f"plausible offset{at}: {procedure.offset.minimum:g} to {procedure.offset.maximum:g} {unit}"
    if procedure.due_days is not None:
        yield f"due again after {procedure.due_days:g} days"
    if procedure.before:
        yield f"before: {_told(procedure.before)}; afterwards: {_told(procedure.after)}"
    verdict = procedure.verdict
    if verdict is not None:
        yield f"verdict: {FUNCTIONS[verdict.register_]} {verdict.address}, {coding(verdict)}; 0 is success"


def _told(steps: Sequence[Step]) -> str:
    return ", ".join(_step(step) for step in steps)


def _step(step: Step) -> str:
    if step.write is None:
        return f"`{step.command}`"
    values = ", ".join("the value" if value == "reference" else str(value) for value in step.write.values)
    return f"{values} ({step.write.kind}) to {step.write.address}"
