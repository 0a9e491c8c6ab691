"""Put what a profile says into the configuration, before it is checked: points, limits, identity.

Between the parsed file and `model.py`: an instrument with `profile = "hamilton-arc-ph"` becomes what somebody would
have written by hand from the instrument's manual, so that nothing behind it asks whether there was a profile. Problems
are told at the place in the file that is at fault. `profile_points.py` makes each point, `line_defaults.py` does the
same for the lines.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lms_protocol.checked_toml.findings import Finding, KeyPath
from lms_protocol.instruments.catalogue import Catalogue, ProfileError, UnknownProfile
from lms_protocol.instruments.model import Profile

from lms_agent.settings.line_defaults import Use, set_lines
from lms_agent.settings.profile_points import dumped, point_table


@dataclass
class Expansion:
    """A document with the profiles' facts in it.

    Attributes:
        document: what is checked instead of the file's own.
        findings: what is wrong with the use of profiles, at key paths of the file's own document.
        unusable: instruments (their positions) whose profile could not be put in: nothing else is said of them.
        own_points: for each point of an instrument, as (instrument, point), its position in the file; None if only the
            profile has it.
    """

    document: dict[str, Any]
    findings: list[Finding] = field(default_factory=list)
    unusable: set[int] = field(default_factory=set)
    own_points: dict[tuple[int, int], int | None] = field(default_factory=dict)

    def written(self, path: KeyPath) -> KeyPath:
        """Where in the file stands what is at `path` of the document: the profile's name if the profile says it."""
        match path:
            case ("instrument", int(index), "point", int(at), *rest) if (index, at) in self.own_points:
                own = self.own_points[index, at]
                return ("instrument", index, "profile") if own is None else ("instrument", index, "point", own, *rest)
        return path

    def told(self, findings: Iterable[Finding]) -> list[Finding]:
        """The findings of the document that are worth telling; of a point that the file does not name, what to do."""
        return [self._with_remedy(finding) for finding in findings if not self._is_of_unusable(finding)]

    def _is_of_unusable(self, finding: Finding) -> bool:
        return finding.path[:1] == ("instrument",) and bool(set(finding.path[1:2]) & self.unusable)

    def _with_remedy(self, finding: Finding) -> Finding:
        match finding.path:
            case ("instrument", int(index), "point", int(at), "tag") if self.own_points.get((index, at), 0) is None:
                name = self.document["instrument"][index]["point"][at]["point"]
                remedy = f'give this one another: [[instrument.point]] point = "{name}", tag = "…"'
                return finding._replace(allowed=f"{finding.allowed}; {remedy}")
        return finding


def expand(document: Mapping[str, Any], base: Path) -> Expansion:
    """The document with every profile's facts where the file says nothing else.

    Args:
        document: the parsed file, which may be wrong in any way.
        base: the folder that relative paths count from.
    """
    expansion = Expansion(dict(document))
    instruments = document.get("instrument")
    if not isinstance(instruments, list):
        return expansion
    tables = [(index, table) for index, table in enumerate(instruments) if isinstance(table, Mapping)]
    expansion.findings += _points_of_no_profile(tables)
    profiled = [(index, table) for index, table in tables if isinstance(table.get("profile"), str)]
    if not profiled:
        return expansion
    catalogue = _catalogue(document, base, expansion)
    expanded: list[Any] = list(instruments)
    uses: list[Use] = []
    for index, table in profiled:
        profile = _profile(catalogue, index, table, expansion)
        if profile is not None:
            expanded[index] = _instrument(index, table, profile, expansion)
            uses.append(Use(index, table, profile))
    expansion.document["instrument"] = expanded
    if "bus" in document:
        expansion.document["bus"], findings = set_lines(document["bus"], uses)
        expansion.findings += findings
    return expansion


def _points_of_no_profile(tables: list[tuple[int, Mapping[str, Any]]]) -> Iterator[Finding]:
    for index, table in tables:
        points = table.get("point")
        if "profile" in table or not isinstance(points, list):
            continue
        for at, point in enumerate(points):
            if isinstance(point, Mapping) and "point" in point:
                allowed = "no such key: only an instrument with a profile has points to choose from"
                yield Finding(("instrument", index, "point", at, "point"), f'"{point["point"]}"', allowed)


def _catalogue(document: Mapping[str, Any], base: Path, expansion: Expansion) -> Catalogue:
    agent = document.get("agent")
    folder = agent.get("profiles") if isinstance(agent, Mapping) else None
    if isinstance(folder, str):
        try:
            return Catalogue(base / Path(folder).expanduser())
        except RuntimeError:  # a home that nobody has; `value_types.py` says so
            return Catalogue()
        except ProfileError as error:
            problem = error.problems[0]
            finding = Finding(("agent", "profiles"), f'"{error.path}" ({problem.found})', problem.allowed)
            expansion.findings.append(finding)
    return Catalogue()


def _profile(catalogue: Catalogue, index: int, table: Mapping[str, Any], expansion: Expansion) -> Profile | None:
    path: KeyPath = ("instrument", index, "profile")
    try:
        profile = catalogue.get(table["profile"])
    except UnknownProfile as error:
        near = get_close_matches(error.id, error.known, n=1)
        allowed = (f'perhaps "{near[0]}"; ' if near else "") + "the id of a profile, see `lms-agent profile list`"
        expansion.findings.append(Finding(path, f'"{error.id}"', allowed))
    except ProfileError as error:
        for problem in error.problems:
            place = f"line {problem.line}, " if problem.line else ""
            found = f'"{table["profile"]}", which cannot be used: {error.path}, {place}{problem.key}: {problem.found}'
            expansion.findings.append(Finding(path, found, problem.allowed))
    else:
        driver = table.get("driver")
        if driver in (None, profile.driver):
            return profile
        allowed = f'"{profile.driver}", as profile {profile.id} says, or no such key'
        expansion.findings.append(Finding(("instrument", index, "driver"), f'"{driver}"', allowed))
    expansion.unusable.add(index)
    return None


def _instrument(index: int, table: Mapping[str, Any], profile: Profile, expansion: Expansion) -> dict[str, Any]:
    """An instrument's table with what its profile says."""
    defaults: dict[str, Any] = {"driver": profile.driver, "period_s": profile.timing.period_s}
    if profile.identity is not None:
        defaults["identity"] = dumped(profile.identity)
    expanded = {**defaults, **profile.instrument_keys(), **table}
    points = table.get("point", [])
    if not isinstance(points, list):
        return expanded
    without = table.get("without", [])
    without = without if isinstance(without, list) else []
    asked = dict(_asked_for(index, points, without, profile, expansion))
    expanded["point"] = []
    for point in profile.points:
        if point.name not in asked and (not point.default or point.name in without):
            continue
        own = asked.get(point.name)
        said = {} if own is None else points[own]
        expansion.own_points[index, len(expanded["point"])] = own
        place: KeyPath = ("instrument", index, "profile") if own is None else ("instrument", index, "point", own)
        point_, findings = point_table(place, point, said, profile)
        expanded["point"].append(point_)
        expansion.findings += findings
    for own, table_ in enumerate(points):
        if not isinstance(table_, Mapping) or "point" not in table_:
            expansion.own_points[index, len(expanded["point"])] = own
            expanded["point"].append(table_)
    return expanded


def _asked_for(
    index: int, points: list[Any], without: list[Any], profile: Profile, expansion: Expansion
) -> Iterator[tuple[str, int]]:
    """Names of the profile's points that the file has something to say of, and where."""
    names = [point.name for point in profile.points]
    known = f"a point of profile {profile.id}: {', '.join(names) or 'it has none'}"
    seen: set[str] = set()
    for at, name in enumerate(without):
        if name not in names:
            expansion.findings.append(Finding(("instrument", index, "without", at), f'"{name}"', known))
    for own, table in enumerate(points):
        if not isinstance(table, Mapping) or "point" not in table:
            continue
        name = table["point"]
        path: KeyPath = ("instrument", index, "point", own, "point")
        if name not in names:
            expansion.findings.append(Finding(path, f'"{name}"', known))
        elif name in seen:
            expansion.findings.append(Finding(path, f'"{name}" a second time', "each point of a profile once"))
        elif name in without:
            expansion.findings.append(Finding(path, f'"{name}", which is in without, too', "one of the two"))
        else:
            seen.add(name)
            yield name, own
