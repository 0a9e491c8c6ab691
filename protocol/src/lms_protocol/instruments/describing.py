"""A profile as a page for people, in Markdown: `docs/instruments/` is made of these, and so can be pages of own ones.

`lms-agent profile pages FOLDER` writes them; a test holds those in docs/ against the profiles.
"""

from collections.abc import Iterable, Iterator

from lms_protocol.instruments.describing_calibration import calibration
from lms_protocol.instruments.describing_parts import FUNCTIONS, coding, meanings, number, source_words, table
from lms_protocol.instruments.facts import Link, RegisterIdentity
from lms_protocol.instruments.model import AnyPoint, Profile
from lms_protocol.instruments.points import BalancePoint, ModbusProfilePoint
from lms_protocol.instruments.registers_profile import ModbusProfile, NamedStatus, UnitCodes

_KINDS = {"modbus-rtu": "Modbus RTU", "modbus-tcp": "Modbus TCP", "serial": "lines of text"}


def page(profile: Profile) -> str:
    """The whole page of a profile."""
    sections: list[Iterable[str]] = [
        _head(profile),
        _configuration(profile),
        _notes(profile),
        _line(profile),
        _points(profile),
    ]
    if isinstance(profile, ModbusProfile):
        sections += [_status(profile, status) for status in profile.statuses]
        if profile.unit_codes is not None:
            sections.append(_unit_codes(profile, profile.unit_codes))
    sections.append(_identity(profile))
    sections += [calibration(profile, point) for point in profile.points if point.calibration is not None]
    sections.append(_sources(profile))
    return "\n".join(line for section in sections for line in section).rstrip() + "\n"


def overview(profiles: Iterable[Profile]) -> str:
    """A table of profiles, each with a link to its page."""
    rows = [
        (f"[`{profile.id}`]({profile.id}.md)", profile.maker, profile.words, _links(profile), profile.evidence)
        for profile in profiles
    ]
    return "\n".join(table(("profile", "maker", "what", "line", "values"), rows)) + "\n"


def setting(link: Link) -> str:
    """How a serial line is set, as manuals write it: `19200 8N2`; the port of a TCP endpoint."""
    if link.kind == "modbus-tcp":
        return f"port {link.port or 502}"
    return f"{link.baud} {link.data_bits}{link.parity[0].upper()}{link.stop_bits}"


def place(point: AnyPoint) -> str:
    """How a point is asked for, in a few words."""
    if isinstance(point, ModbusProfilePoint):
        order = ", low word first" if point.word_order == "little" else ""
        bit = f", bit {point.bit}" if point.bit is not None else ""
        return f"{FUNCTIONS[point.register_]} {point.address}, {point.kind}{order}{bit}"
    return f"`{point.command}`" if isinstance(point, BalancePoint) else f'field "{point.field}"'


def measuring_range(point: AnyPoint) -> str:
    """What it can measure at all; "" if that is not known."""
    if point.minimum is None and point.maximum is None:
        return ""
    return f"{number(point.minimum)} to {number(point.maximum)}"


def _head(profile: Profile) -> Iterator[str]:
    yield f"# {profile.maker}: {profile.words}"
    yield ""
    yield f"Profile `{profile.id}`, for {', '.join(profile.models)}. Speaks `{profile.driver}`."
    if profile.evidence == "verified":
        yield "Where its values lie, and what they mean, is **verified** with the maker's manual."
    elif profile.points:
        yield "Where its values lie, or what they mean, is **reported** by others, not verified with a manual:"
        yield "compare the first readings with what the instrument shows."
    yield ""
    yield "This page is made from the profile itself; do not edit it."
    yield ""


def _configuration(profile: Profile) -> Iterator[str]:
    link = profile.links[0]
    yield from ("## In the configuration", "", "```toml", "[[bus]]", 'id = "line-1"', f'kind = "{link.kind}"')
    yield 'host = "192.0.2.7"' if link.kind == "modbus-tcp" else 'port = "/dev/serial/by-id/…"'
    yield from ("", "[[instrument]]", 'id = "one"', 'bus = "line-1"', 'bioreactor = "R1"', f'profile = "{profile.id}"')
    unit = profile.instrument_keys().get("unit")
    if unit is not None:
        shown = f'"{unit}"' if isinstance(unit, str) else str(unit)
        yield f"unit = {shown}".ljust(32) + "# what it is set to, if not this"
    if not profile.points:
        yield from ("", "[[instrument.point]]".ljust(32) + "# one for each value", 'tag = "Level/PV"', "address = 0")
    yield from ("```", "")


def _notes(profile: Profile) -> Iterator[str]:
    if profile.notes:
        yield from ("## At the instrument", "", *(f"- {note}" for note in profile.notes), "")


def _line(profile: Profile) -> Iterator[str]:
    yield from ("## Line", "")
    rows = [
        (
            _KINDS[link.kind],
            setting(link),
            ", ".join(map(str, sorted(link.bauds))),
            ", ".join(link.parities),
            ", ".join(map(str, sorted(link.stop_bits_choices))),
            source_words(profile, link),
        )
        for link in profile.links
    ]
    yield from table(("", "comes with", "rates", "parities", "stop bits", "source"), rows)
    timing = profile.timing
    pause = f", wants {1000 * timing.pause_s:g} ms between commands" if timing.pause_s else ""
    asked = f"is asked every {timing.period_s:g} s if the configuration does not say otherwise"
    yield ""
    yield f"It answers within {timing.reply_s:g} s{pause} ({source_words(profile, timing)}), and {asked}."
    if isinstance(profile, ModbusProfile):
        yield from _limits(profile)
    yield ""


def _limits(profile: ModbusProfile) -> Iterator[str]:
    limits = profile.instrument
    along = f"reads along up to {limits.largest_gap}" if limits.largest_gap else "reads nothing along"
    most = f"at most {limits.largest_block} registers and {along} that nobody wants"
    yield f"A request asks for {most} ({source_words(profile, limits)})."
    if limits.blocks:
        blocks = " and ".join(f"{block.address} to {block.address + block.count - 1}" for block in limits.blocks)
        yield f"Registers {blocks} are given only together."
    if not limits.single_writes:
        yield "Single registers are written by function 16, too."


def _points(profile: Profile) -> Iterator[str]:
    yield from ("## Points", "")
    if not profile.points:
        yield from ("None: each is written in the configuration.", "")
        return
    rows = [
        (
            f"`{point.name}`" + ("" if point.default else " (on demand)"),
            f"`{point.tag}`",
            point.words,
            point.unit + (" or as it is set" if point.unit_varies else ""),
            measuring_range(point),
            place(point),
            _access(point),
            source_words(profile, point),
        )
        for point in profile.points
    ]
    yield from table(("point", "tag", "what", "unit", "measures", "where", "", "source"), rows)
    yield ""
    if any(not point.default for point in profile.points):
        yield 'Points on demand are read only if the configuration names them: `[[instrument.point]] point = "…"`.'
    if isinstance(profile, ModbusProfile):
        yield "Addresses are those on the wire, counted from 0."
    yield ""


def _access(point: AnyPoint) -> str:
    if point.access == "read":
        return ""
    if point.set_low is None and point.set_high is None:
        return "can be set"
    if point.set_high is None:
        return f"can be set, from {number(point.set_low)}"
    return f"can be set, {number(point.set_low)} to {number(point.set_high)}"


def _status(profile: ModbusProfile, status: NamedStatus) -> Iterator[str]:
    of = [point for point in profile.points if point.status == status.name]
    where = ", ".join(
        f"`{point.name}` at {status.address if point.status_address is None else point.status_address}" for point in of
    )
    yield from (f"## Status: {status.name}", "")
    counted = "" if status.mask == 0xFFFF_FFFF else f" Only bits of {status.mask:#x} count."
    yield f"Beside {where}; {coding(status)} ({source_words(profile, status)}).{counted}"
    yield f"Any bit that is not listed makes a value *{status.otherwise}*."
    yield ""
    if status.conditions:
        yield from meanings(status, "the value is")


def _unit_codes(profile: ModbusProfile, codes: UnitCodes) -> Iterator[str]:
    where = ", ".join(
        f"`{point.name}` at {point.unit_address}" for point in profile.points if point.unit_address is not None
    )
    yield from ("## Units", "")
    yield f"The instrument says the unit of its values: {where}; {coding(codes)} ({source_words(profile, codes)})."
    yield "A value in any other unit than the point's is refused."
    yield ""
    yield from table(("code", "unit"), [(f"{name.code:#x}", name.unit) for name in codes.names])
    yield ""


def _identity(profile: Profile) -> Iterator[str]:
    yield from ("## How it is recognised", "")
    identity = profile.identity
    if identity is None:
        yield "By nothing that it says: only its values show whether it is there."
    elif isinstance(identity, RegisterIdentity):
        texts = " or ".join(f"`{text}`" for text in identity.texts)
        last = identity.address + identity.count - 1
        where = f"{FUNCTIONS[identity.register_]}s {identity.address} to {last}"
        yield f"{texts} stands in {where} ({source_words(profile, identity)})."
    else:
        unit = profile.instrument_keys().get("unit", "")
        pattern = identity.answer.replace("{unit}", str(unit))
        yield f"To `{identity.question(unit)}` it answers as `{pattern}` ({source_words(profile, identity)})."
    yield ""


def _sources(profile: Profile) -> Iterator[str]:
    yield from ("## Sources", "")
    rows = [(f"`{source.id}`", source.title, source.evidence) for source in profile.sources]
    yield from table(("source", "", ""), rows)


def _links(profile: Profile) -> str:
    return "; ".join(f"{_KINDS[link.kind]}, {setting(link)}" for link in profile.links)
