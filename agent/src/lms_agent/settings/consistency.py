"""What no single table can know: references between tables, duplicates, overlaps, times that cannot be kept.

Works on the parsed document, not on the models, and skips what is malformed, so that these problems are reported
together with those that `model.py` finds.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

from lms_protocol.checked_toml.explaining import among
from lms_protocol.checked_toml.findings import Finding
from lms_protocol.instruments.registers import WIDTHS

from lms_agent.settings.dialects import ADDRESSED_DRIVERS, DRIVERS, TEXT_DRIVERS, instrument_driver
from lms_agent.settings.line_defaults import DEFAULT_TIMEOUTS_S
from lms_agent.settings.processing import long_heartbeats

_DRIVERS = {"modbus-rtu": ("modbus",), "modbus-tcp": ("modbus",), "serial": TEXT_DRIVERS}

Table = Mapping[str, Any]
Document = Mapping[str, Any]


def contradictions(document: Document) -> list[Finding]:
    """Everything that two tables of the file contradict each other in."""
    return [
        *_duplicate_ids(document),
        *_shared_ports(document),
        *_dangling_references(document),
        *_unfit_instruments(document),
        *_crowded_lines(document),
        *_duplicate_tags(document),
        *_overlaps(document),
        *long_heartbeats(_tables(document, "instrument")),
    ]


def _tables(parent: Table, key: str) -> Iterator[tuple[int, Table]]:
    entries = parent.get(key)
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, Mapping):
            yield index, entry


def _by_id(document: Document, key: str) -> dict[str, Table]:
    return {table["id"]: table for _, table in _tables(document, key) if isinstance(table.get("id"), str)}


def _duplicate_ids(document: Document) -> Iterator[Finding]:
    for key in ("bioreactor", "bus", "instrument"):
        seen: set[str] = set()
        for index, table in _tables(document, key):
            id_ = table.get("id")
            if isinstance(id_, str):
                if id_ in seen:
                    yield Finding((key, index, "id"), f'"{id_}" a second time', f"an id that no other {key} has")
                seen.add(id_)


def _shared_ports(document: Document) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for index, bus in _tables(document, "bus"):
        port = bus.get("port")
        if isinstance(port, str):
            if port in seen:
                allowed = f"a port of its own; bus {seen[port]} has this one"
                yield Finding(("bus", index, "port"), f'"{port}" a second time', allowed)
            seen.setdefault(port, str(bus.get("id")))


def _dangling_references(document: Document) -> Iterator[Finding]:
    for referring, key in (("instrument", "bus"), ("instrument", "bioreactor"), ("derived", "bioreactor")):
        known = _by_id(document, key)
        for index, table in _tables(document, referring):
            named = table.get(key)
            if isinstance(named, str) and named not in known:
                names = ", ".join(f'"{name}"' for name in known) or f"none: the file has no [[{key}]]"
                yield Finding((referring, index, key), f'"{named}"', f"the id of a [[{key}]]: {names}")


def _unfit_instruments(document: Document) -> Iterator[Finding]:
    buses = _by_id(document, "bus")
    for index, instrument in _tables(document, "instrument"):
        named = instrument.get("bus")
        bus = buses.get(named) if isinstance(named, str) else None
        kind = None if bus is None else bus.get("kind")
        if bus is None or not isinstance(kind, str) or kind not in _DRIVERS:
            continue
        driver = instrument_driver(instrument)
        if driver in DRIVERS and driver not in _DRIVERS[kind]:
            found, allowed = f'"{driver}" on a {kind} bus', f"{among(_DRIVERS[kind])} on this bus"
            yield Finding(("instrument", index, "driver"), found, allowed)
            continue
        unit = instrument.get("unit", 1)
        if kind == "modbus-rtu" and isinstance(unit, int) and (unit == 0 or 247 < unit <= 255):
            yield Finding(
                ("instrument", index, "unit"), str(unit), "1 to 247 on a serial line (0 is everyone, no one answers)"
            )
        timeout_s = bus.get("timeout_s", DEFAULT_TIMEOUTS_S[kind])
        period_s = instrument.get("period_s", 1.0)
        if _is_number(timeout_s) and _is_number(period_s) and 0 < period_s < timeout_s:
            allowed = (
                f"at least the timeout_s of its bus, {timeout_s:g} s: one silent reply would cost more than a scan"
            )
            yield Finding(("instrument", index, "period_s"), f"{period_s:g}", allowed)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _crowded_lines(document: Document) -> Iterator[Finding]:
    """Instruments share a line of text only if they speak the same and their replies say which one speaks."""
    lines: dict[str, dict[object, Table]] = {}
    buses = _by_id(document, "bus")
    for index, instrument in _tables(document, "instrument"):
        name, driver = instrument.get("bus"), instrument_driver(instrument)
        if not isinstance(name, str) or buses.get(name, {}).get("kind") != "serial":
            continue
        line = lines.setdefault(name, {})
        first = next(iter(line.values()), None)
        address = _address(instrument) if driver in ADDRESSED_DRIVERS else None
        if first is not None and (driver not in ADDRESSED_DRIVERS or driver != instrument_driver(first)):
            allowed = f"a serial bus of its own; this one has {first.get('id')}"
            yield Finding(("instrument", index, "bus"), f'"{name}"', allowed)
        elif address in line:
            allowed = f"a unit that no other instrument on {name} has; {line[address].get('id')} has this one"
            key = "unit" if "unit" in instrument else "bus"
            yield Finding(("instrument", index, key), f"{address!r} a second time".replace("'", '"'), allowed)
        line.setdefault(address, instrument)


def _address(instrument: Table) -> object:
    unit = instrument.get("unit", "A" if instrument_driver(instrument) == "alicat" else 1)
    return unit if isinstance(unit, str | int | float) else None


def _duplicate_tags(document: Document) -> Iterator[Finding]:
    seen: dict[tuple[object, str], object] = {}
    for index, instrument in _tables(document, "instrument"):
        for at, point in _tables(instrument, "point"):
            tag, bioreactor = point.get("tag"), instrument.get("bioreactor")
            if not isinstance(tag, str) or not isinstance(bioreactor, str):
                continue
            if (bioreactor, tag) in seen:
                allowed = f"a tag once per bioreactor; {bioreactor} has it from {seen[bioreactor, tag]} already"
                yield Finding(("instrument", index, "point", at, "tag"), f'"{tag}" a second time', allowed)
            seen.setdefault((bioreactor, tag), instrument.get("id"))


class _Span(NamedTuple):
    at: int
    tag: object
    first: int
    width: int
    coding: tuple[object, ...]

    @property
    def end(self) -> int:
        return self.first + self.width


def _overlaps(document: Document) -> Iterator[Finding]:
    """The same registers cannot be two different things. Single bits of a register may be looked at as well."""
    for index, instrument in _tables(document, "instrument"):
        if instrument_driver(instrument) != "modbus":
            continue
        registers: dict[object, list[_Span]] = {}
        for at, point in _tables(instrument, "point"):
            kind, address = point.get("kind", "uint16"), point.get("address")
            if isinstance(address, int) and isinstance(kind, str) and kind in WIDTHS and kind != "bool":
                if not 0 <= address <= 65536 - WIDTHS[kind]:
                    continue
                coding = (kind, point.get("word_order", "big"), point.get("byte_order", "big"))
                span = _Span(at, point.get("tag"), address, WIDTHS[kind], coding)
                register = point.get("register", "holding")
                registers.setdefault(register if isinstance(register, str) else "?", []).append(span)
        for spans in registers.values():
            yield from _clashes(index, spans)


def _clashes(index: int, spans: list[_Span]) -> Iterator[Finding]:
    spans = sorted(spans, key=lambda span: (span.first, span.at))
    for one, next_ in pairwise(spans):
        if next_.first < one.end and (next_.first, next_.coding) != (one.first, one.coding):
            later, earlier = max(one, next_), min(one, next_)
            found = f"{later.first} ({later.coding[0]}, registers {later.first} to {later.end - 1})"
            taken = f"{earlier.tag} has {earlier.first} to {earlier.end - 1} as {earlier.coding[0]}"
            allowed = f"registers of its own; {taken}"
            yield Finding(("instrument", index, "point", later.at, "address"), found, allowed)
