"""What every profile has, whatever its dialect, and what in it can be wrong.

Neighbours: `registers_profile.py` and `lines_profile.py` extend it.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import Field

from lms_protocol.checked_toml.findings import Checked, Wrong
from lms_protocol.instruments.calibration import Procedure, Step
from lms_protocol.instruments.facts import Evidence, Fact, Link, Source, Timing
from lms_protocol.instruments.names import Slug
from lms_protocol.instruments.points import ProfilePoint


class BaseProfile(Checked):
    """What every profile has, whatever its dialect."""

    id: Slug
    maker: str = Field(min_length=1, max_length=60)
    models: Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
    words: str = Field(min_length=1, max_length=200)
    sources: Annotated[tuple[Source, ...], Field(strict=False, alias="source", min_length=1)]
    links: Annotated[tuple[Link, ...], Field(strict=False, alias="link", min_length=1)]
    timing: Timing
    notes: Annotated[tuple[str, ...], Field(strict=False)] = ()

    def source_of(self, fact: Fact | Procedure) -> Source:
        """Where a fact of this profile comes from."""
        return next(source for source in self.sources if source.id == fact.source)

    def evidence_of(self, fact: Fact | Procedure) -> Evidence:
        """Whether a fact is verified or only reported."""
        return self.source_of(fact).evidence

    def facts(self) -> Iterator[tuple[str, Fact | Procedure]]:
        """Every fact, with the path of its table."""
        for at, link in enumerate(self.links):
            yield f"link.{at}", link
        yield "timing", self.timing

    def instrument_keys(self) -> dict[str, Any]:
        """What an instrument of this model is set to, as keys of the configuration's `[[instrument]]`."""
        return {}

    @property
    def evidence(self) -> Evidence:
        """Whether its readings rest on the maker's word: `verified` if all that is said of points is."""
        said = [self.evidence_of(fact) for path, fact in self.facts() if _is_of_readings(path)]
        return "verified" if said and set(said) == {"verified"} else "reported"

    def _contradictions(self) -> Iterator[Wrong]:
        yield from super()._contradictions()
        ids = [source.id for source in self.sources]
        for at, source in enumerate(ids):
            if source in ids[:at]:
                yield f"source.{at}.id", f'"{source}" a second time', "an id that no other source has"
        known = ", ".join(f'"{source}"' for source in ids)
        for path, fact in self.facts():
            if fact.source not in ids:
                yield f"{path}.source", f'"{fact.source}"', f"the id of a [[source]]: {known}"


def _is_of_readings(path: str) -> bool:
    return path.split(".", maxsplit=1)[0] in ("point", "status", "unit_codes") and not path.endswith("calibration")


def facts_of_points(points: Sequence[ProfilePoint]) -> Iterator[tuple[str, Fact | Procedure]]:
    """What is said of points and of their calibration, with the paths of their tables."""
    for at, point in enumerate(points):
        yield f"point.{at}", point
        if point.calibration is not None:
            yield f"point.{at}.calibration", point.calibration


def unfit_links(links: Sequence[Link], kinds: Sequence[str]) -> Iterator[Wrong]:
    """Links of another kind than the dialect is spoken on."""
    for at, link in enumerate(links):
        if link.kind not in kinds:
            allowed = " or ".join(f'"{kind}"' for kind in kinds)
            yield f"link.{at}.kind", f'"{link.kind}"', f"{allowed} for this driver"


def unfit_points(points: Sequence[ProfilePoint], *, writes: bool) -> Iterator[Wrong]:
    """Names and tags are there once; steps of a calibration speak the dialect."""
    for key in ("name", "tag"):
        seen: set[str] = set()
        for at, point in enumerate(points):
            text = getattr(point, key)
            if text in seen:
                yield f"point.{at}.{key}", f'"{text}" a second time', f"a {key} that no other point has"
            seen.add(text)
    for at, point in enumerate(points):
        procedure = point.calibration
        if procedure is None:
            continue
        for path, step in _steps(procedure):
            if (step.write is not None) != writes:
                found, allowed = ("a command", "registers to write") if writes else ("registers to write", "a command")
                yield f"point.{at}.calibration.{path}", found, f"{allowed}, for this driver"


def _steps(procedure: Procedure) -> Iterator[tuple[str, Step]]:
    yield from ((f"before.{at}", step) for at, step in enumerate(procedure.before))
    yield from ((f"after.{at}", step) for at, step in enumerate(procedure.after))
    for which, reference in enumerate(procedure.references):
        yield from ((f"reference.{which}.step.{at}", step) for at, step in enumerate(reference.steps))
