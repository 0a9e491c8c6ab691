"""A configuration in the making: instruments are put on lines, and named and tagged so that nothing clashes.

Between whoever asks (`lms-agent init`) and `answers.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lms_protocol.errors import LmsError
from lms_protocol.instruments.facts import Link
from lms_protocol.instruments.model import Profile

from lms_agent.starting.answers import Answers, BusAnswer, InstrumentAnswer, PointAnswer
from lms_agent.starting.naming import free_id, free_tags, id_of


class DraftError(LmsError):
    """An instrument does not fit what is there already; the message says why, and what to do."""


@dataclass(frozen=True)
class Where:
    """Where an instrument hangs.

    Attributes:
        port: a device file; "" on TCP.
        host, tcp_port: of an endpoint.
        baud, parity, stop_bits: if they are known to differ from the profile's.
    """

    port: str = ""
    host: str = ""
    tcp_port: int = 502
    baud: int | None = None
    parity: str | None = None
    stop_bits: int | None = None

    @classmethod
    def of(cls, text: str) -> "Where":
        """From a device file, a host, or `host:port`."""
        if text.startswith(("/", ".")) or Path(text).exists():
            return cls(port=text)
        host, colon, port = text.rpartition(":")
        return cls(host=host if colon else text, tcp_port=int(port) if colon and port.isdigit() else 502)

    def __str__(self) -> str:
        """For people."""
        return self.port or f"{self.host}:{self.tcp_port}"


@dataclass
class Draft:
    """What is known so far."""

    bioreactors: list[tuple[str, str]] = field(default_factory=list)
    buses: list[BusAnswer] = field(default_factory=list)
    instruments: list[InstrumentAnswer] = field(default_factory=list)
    _tags: set[tuple[str, str]] = field(default_factory=set)

    def add_bioreactor(self, id_: str, name: str = "") -> None:
        """A vessel.

        Raises:
            DraftError: there is one of that id.
        """
        if id_ in {known for known, _ in self.bioreactors}:
            raise DraftError(f"bioreactor {id_} is there already")
        self.bioreactors.append((id_, name))

    def add(
        self,
        profile: Profile,
        where: Where,
        *,
        bioreactor: str,
        unit: int | str | None = None,
        id_: str | None = None,
    ) -> InstrumentAnswer:
        """An instrument whose profile is known.

        Args:
            unit: None: as in its box, or none where the dialect has none.
            id_: None: named after the profile.

        Raises:
            DraftError: it does not fit the place, or the place is taken.
        """
        self._check_bioreactor(bioreactor)
        link = fitting_link(profile, where)
        keys = profile.instrument_keys()
        known = unit if unit is not None else keys.get("unit")
        about = f"{profile.maker} {profile.models[0]}: {profile.words}"
        name = free_id(id_ or profile.id, self._ids())
        if link.kind == "modbus-rtu" or "unit" in keys:
            self._check_unit(where, known)
        bus = self._bus(where, link)
        points = tuple(self._renamed(profile, bioreactor))
        answer = InstrumentAnswer(
            name, profile.id, about, bus.id, bioreactor, known if "unit" in keys else None, points
        )
        self.instruments.append(answer)
        return answer

    def add_registers(
        self, where: Where, *, bioreactor: str, unit: int, id_: str, points: Sequence[PointAnswer]
    ) -> InstrumentAnswer:
        """A Modbus instrument without a profile.

        Raises:
            DraftError: the place is taken, or a tag is.
        """
        self._check_bioreactor(bioreactor)
        for point in points:
            if (bioreactor, point.tag) in self._tags:
                raise DraftError(f"bioreactor {bioreactor} has a tag {point.tag} already")
        self._check_unit(where, unit)
        kind = "modbus-rtu" if where.port else "modbus-tcp"
        link = Link(kind=kind, baud=19200 if where.port else None, parity="none", stop_bits=1, source="none")
        bus = self._bus(where, link)
        self._tags.update((bioreactor, point.tag) for point in points)
        name = free_id(id_, self._ids())
        answer = InstrumentAnswer(name, "", "Modbus, described here", bus.id, bioreactor, unit, tuple(points))
        self.instruments.append(answer)
        return answer

    def line_at(self, where: Where) -> BusAnswer | None:
        """The line that is there already; None if there is none."""
        return next((bus for bus in self.buses if _is_at(bus, where)), None)

    def answers(self, given: Answers) -> Answers:
        """`given`, with what was drafted."""
        return replace(
            given,
            bioreactors=tuple(self.bioreactors),
            buses=tuple(self.buses),
            instruments=tuple(self.instruments),
        )

    def _ids(self) -> set[str]:
        return {instrument.id for instrument in self.instruments}

    def _check_bioreactor(self, id_: str) -> None:
        known = [bioreactor for bioreactor, _ in self.bioreactors]
        if id_ not in known:
            raise DraftError(
                f"there is no bioreactor {id_}; there {'are' if len(known) > 1 else 'is'} {', '.join(known)}"
            )

    def _check_unit(self, where: Where, unit: int | str | None) -> None:
        known = self.line_at(where)
        for instrument in self.instruments:
            if known is not None and instrument.bus == known.id and instrument.unit == unit:
                raise DraftError(f"unit {unit} on {where} is {instrument.id} already; each has a number of its own")

    def _bus(self, where: Where, link: Link) -> BusAnswer:
        """The line at a place: the one that is there, or a new one."""
        known = self.line_at(where)
        if known is not None:
            self._check_shared(known, where, link)
            return known
        name = free_id("line" if where.port else id_of(where.host, "endpoint"), {bus.id for bus in self.buses})
        if link.kind == "modbus-tcp":
            bus = BusAnswer(name, link.kind, host=where.host, tcp_port=where.tcp_port)
        else:
            bus = BusAnswer(
                name,
                link.kind,
                port=where.port,
                baud=where.baud or link.baud,
                parity=where.parity or link.parity,
                stop_bits=where.stop_bits or link.stop_bits,
            )
        self.buses.append(bus)
        return bus

    def _check_shared(self, bus: BusAnswer, where: Where, link: Link) -> None:
        if bus.kind != link.kind:
            raise DraftError(
                f"{where} is a {bus.kind} line already, this instrument needs {link.kind}: take another port"
            )
        baud = where.baud or link.baud
        if bus.baud is not None and baud != bus.baud and baud not in link.all_bauds():
            raise DraftError(f"{where} runs at {bus.baud} baud, this instrument at {baud}: set both to the same")

    def _renamed(self, profile: Profile, bioreactor: str) -> list[PointAnswer]:
        """The points that need another tag than their profile suggests: another instrument of the bioreactor has it."""
        points = [point for point in profile.points if point.default]
        tags = free_tags([point.tag for point in points], {tag for of, tag in self._tags if of == bioreactor})
        self._tags.update((bioreactor, tag) for tag in tags)
        named = zip(points, tags, strict=True)
        return [PointAnswer(tag, point.name) for point, tag in named if tag != point.tag]


def fitting_link(profile: Profile, where: Where) -> Link:
    """The way to connect a profile's instrument at a place.

    Raises:
        DraftError: it has none.
    """
    for link in profile.links:
        if _fits(link, where):
            return link
    wanted = "a serial port" if where.host else "a host"
    raise DraftError(f"{profile.id} hangs on {wanted}, not on {where}")


def hangs_at(profile: Profile, where: Where) -> bool:
    """Whether a profile's instrument can be connected there."""
    return any(_fits(link, where) for link in profile.links)


def _fits(link: Link, where: Where) -> bool:
    return (link.kind == "modbus-tcp") == bool(where.host)


def _is_at(bus: BusAnswer, where: Where) -> bool:
    return bus.port == where.port if where.port else (bus.host, bus.tcp_port) == (where.host, where.tcp_port)
