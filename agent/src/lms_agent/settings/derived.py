"""`[[derived]]`: tags that are computed from others of their bioreactor.

Neighbours: `lms_agent.expressions` reads the expression; `model.py` has these tables; `lms_agent.processing.deriving`
computes.
"""

from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Literal, NamedTuple, TypeAlias

from lms_protocol.checked_toml.findings import Wrong, quoted, wrong
from lms_protocol.reading import Datatype
from pydantic import AfterValidator, Field

from lms_agent.expressions import Expression, ExpressionError, parse
from lms_agent.settings.points import Point
from lms_agent.settings.processing import longest_heartbeat_s

Key: TypeAlias = tuple[str, str]
"""A tag: bioreactor and name."""


def _check_expression(text: str) -> str:
    try:
        expression = parse(text)
    except ExpressionError as error:
        raise wrong(("", error.found, error.allowed)) from None
    if not expression.tags:
        raise wrong(("", quoted(text), "an expression with at least one tag in braces: {pH/PV}"))
    return text


class DerivedTag(Point):
    """`[[derived]]`: a tag that is computed from others, as often as the fastest of them is read.

    `max_age_s`: an older input makes the value UNCERTAIN.
    """

    bioreactor: str
    expression: Annotated[str, AfterValidator(_check_expression)]
    max_age_s: float | None = Field(None, gt=0)
    access: Literal["read"] = "read"

    @property
    def parsed(self) -> Expression:
        """The expression, ready to be computed."""
        return parse(self.expression)

    @property
    def datatype(self) -> Datatype:
        """Numbers are doubles."""
        return Datatype.BOOLEAN if self.parsed.is_truth else Datatype.DOUBLE


def in_order(derived: Sequence[DerivedTag]) -> list[DerivedTag]:
    """Those that others need before those others.

    Raises:
        CycleError: one needs itself, in the end.
    """
    known = {(each.bioreactor, each.tag): each for each in derived}
    needs = {key: [(key[0], tag) for tag in each.parsed.tags] for key, each in known.items()}
    return [known[key] for key in TopologicalSorter(needs).static_order() if key in known]


class Pace(NamedTuple):
    """How often a tag is read: from scan to scan of the fastest and of the slowest instrument that it is made of."""

    shortest_s: float
    longest_s: float


def paces(derived: Sequence[DerivedTag], measured_s: Mapping[Key, float]) -> dict[Key, Pace]:
    """The pace of every tag, measured or derived.

    Args:
        derived: whose inputs are all there.
        measured_s: the period of each tag that instruments give.

    Raises:
        CycleError: one needs itself, in the end.
    """
    known = {key: Pace(period_s, period_s) for key, period_s in measured_s.items()}
    for each in in_order(derived):
        inputs = [known[each.bioreactor, tag] for tag in each.parsed.tags]
        known[each.bioreactor, each.tag] = Pace(
            min(one.shortest_s for one in inputs), max(one.longest_s for one in inputs)
        )
    return known


def unfit_derived(
    derived: Sequence[DerivedTag], measured: Mapping[Key, Datatype], measured_s: Mapping[Key, float]
) -> Iterator[Wrong]:
    """What no derived tag can know by itself: whether its inputs are there, and fit.

    Args:
        derived: in the order of the file.
        measured, measured_s: datatype and period of each tag that instruments give.
    """
    findings = [*_unfit_inputs(derived, measured)]
    yield from findings
    if findings:
        return
    try:
        known = paces(derived, measured_s)
    except CycleError as error:
        names = " → ".join(tag for _, tag in reversed(error.args[1]))
        first = next(at for at, each in enumerate(derived) if (each.bioreactor, each.tag) in error.args[1])
        yield f"derived.{first}.expression", f"a circle: {names}", "an expression that does not need its own value"
        return
    for at, each in enumerate(derived):
        period_s = known[each.bioreactor, each.tag].shortest_s
        longest_s = longest_heartbeat_s(period_s)
        if each.heartbeat_s is not None and each.heartbeat_s > longest_s:
            allowed = f"at most {longest_s:g} s, as its inputs come every {period_s:g} s: else it is shown as a silence"
            yield f"derived.{at}.heartbeat_s", f"{each.heartbeat_s:g}", allowed


def _unfit_inputs(derived: Sequence[DerivedTag], measured: Mapping[Key, Datatype]) -> Iterator[Wrong]:
    known = dict(measured)
    for at, each in enumerate(derived):
        key = each.bioreactor, each.tag
        if key in known:
            yield f"derived.{at}.tag", f'"{each.tag}" a second time', f"a tag once per bioreactor ({each.bioreactor})"
        known[key] = each.datatype
    for at, each in enumerate(derived):
        for tag in each.parsed.tags:
            datatype = known.get((each.bioreactor, tag))
            wanted = _unfit(tag, datatype, each)
            if wanted:
                found = f"{{{tag}}}" + (f", which is {_WORDS[datatype]}" if datatype else "")
                yield f"derived.{at}.expression", found, wanted


_WORDS = {Datatype.BOOLEAN: "true or false", Datatype.STRING: "text"}
_WORDS |= {datatype: "a number" for datatype in Datatype if datatype not in _WORDS}


def _unfit(tag: str, datatype: Datatype | None, derived: DerivedTag) -> str:
    """What would be allowed instead; "" if the tag fits."""
    if datatype is None:
        return f"a tag of {derived.bioreactor} that an instrument gives or that is derived"
    if tag in derived.parsed.truths:
        return "" if datatype is Datatype.BOOLEAN else "a tag that is true or false at this place"
    return "" if datatype not in (Datatype.BOOLEAN, Datatype.STRING) else "a number at this place"
