"""What a line is set to if the file does not say: as its instruments come out of their boxes.

Called by `expanding.py`, with the profiles of the instruments on each line.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from lms_protocol.checked_toml.findings import Finding
from lms_protocol.instruments.facts import Link
from lms_protocol.instruments.model import Profile

DEFAULT_TIMEOUTS_S = {"modbus-rtu": 0.3, "modbus-tcp": 1.0, "serial": 1.0}
_SERIAL_KEYS = ("baud", "parity", "stop_bits", "data_bits")


class Use(NamedTuple):
    """An instrument of the file that has a profile.

    Attributes:
        at: its position in the file.
        table: as it stands there.
        profile: the profile that it names.
    """

    at: int
    table: Mapping[str, Any]
    profile: Profile


class _Linked(NamedTuple):
    use: Use
    link: Link


def set_lines(buses: Any, uses: list[Use]) -> tuple[Any, list[Finding]]:
    """The buses with the settings that their instruments come with, and what does not fit together.

    Args:
        buses: `[[bus]]` of the file, which may be wrong in any way.
        uses: the instruments with profiles.
    """
    if not isinstance(buses, list):
        return buses, []
    findings: list[Finding] = []
    expanded = list(buses)
    for at, bus in enumerate(buses):
        kind = bus.get("kind") if isinstance(bus, Mapping) else None
        if not isinstance(kind, str) or kind not in DEFAULT_TIMEOUTS_S:
            continue
        linked = []
        for use in uses:
            if use.table.get("bus") != bus.get("id"):
                continue
            link = next((link for link in use.profile.links if link.kind == bus["kind"]), None)
            if link is None:
                kinds = " or ".join(f"a {link.kind} bus" for link in use.profile.links)
                found = f'"{use.profile.id}" on a {bus["kind"]} bus'
                findings.append(Finding(("instrument", use.at, "profile"), found, f"this profile on {kinds}"))
            else:
                linked.append(_Linked(use, link))
        if linked:
            expanded[at], wrong = _line(at, bus, linked)
            findings += wrong
    return expanded, findings


def _line(at: int, bus: Mapping[str, Any], linked: list[_Linked]) -> tuple[dict[str, Any], list[Finding]]:
    findings = list(_unfit_timeout(at, bus, linked))
    slowest_s = max(use.profile.timing.reply_s for use, _ in linked)
    filled: dict[str, Any] = {"timeout_s": max(DEFAULT_TIMEOUTS_S[bus["kind"]], slowest_s)}
    if bus["kind"] != "modbus-tcp":
        for key in _SERIAL_KEYS:
            if key in bus:
                continue
            wanted = {getattr(link, key): use for use, link in linked}
            if len(wanted) > 1:
                told = "; ".join(f"{use.table.get('id')} comes with {value}" for value, use in wanted.items())
                allowed = f"a value that all its instruments are set to: {told}"
                findings.append(Finding(("bus", at, key), "nothing", allowed))
            filled[key] = next(iter(wanted))
    return {**filled, **bus}, findings


def _unfit_timeout(at: int, bus: Mapping[str, Any], linked: list[_Linked]) -> Iterator[Finding]:
    timeout_s = bus.get("timeout_s")
    if not isinstance(timeout_s, int | float) or isinstance(timeout_s, bool):
        return
    use = max((use for use, _ in linked), key=lambda use: use.profile.timing.reply_s)
    if timeout_s < use.profile.timing.reply_s:
        takes = f"at least {use.profile.timing.reply_s:g}: so long may {use.table.get('id')} take to answer"
        yield Finding(("bus", at, "timeout_s"), f"{timeout_s:g}", takes)
