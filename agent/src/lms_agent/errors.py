"""What can go wrong between the agent and what it is connected to, as one tree.

    LmsError                              lms_protocol.errors
    ├── SettingsError                     the TOML file cannot be used; holds every problem found
    └── InstrumentError                   reading an instrument failed: no value, and never a wrong one
        ├── PortError                     the line itself: nothing can be asked on it now
        │   ├── PortMissing               no such device file, or the host is unknown
        │   ├── PortBusy                  another program has the serial port
        │   ├── PortDenied                the port exists, but this account may not open it
        │   ├── PortRefused               the TCP endpoint does not take the connection
        │   └── PortLost                  it was open and is gone: unplugged, reset, closed by the other side
        ├── ReplyTimeout                  no complete reply in time
        ├── ReplyRefused                  a reply came, but it is not a sound answer to what was asked
        ├── ReplyOutOfStep                the replies lag behind the requests; nothing is believed until they fit again
        ├── InstrumentBusy                the instrument says: later
        ├── InstrumentRefused             the instrument answers with an error (Modbus exception, `ES`, `ET`, `EL`)
        ├── ValueDisowned                 the instrument itself says that a value is not to be used, or of another unit
        ├── WrongInstrument               another model answers than the settings are for; nothing of it is believed
        └── NotWritable                   a point that cannot be written, or not with this value; nothing was sent

What the caller may do is the same for a whole branch: after any `InstrumentError` ask again at the next scan.
`SettingsError` ends the program with code 2.
"""

import shlex
from collections.abc import Sequence

from lms_protocol.checked_toml.problems import UnusableFile
from lms_protocol.errors import LmsError


class SettingsError(UnusableFile):
    """The configuration cannot be used; the file, and all that was found in it."""


class InstrumentError(LmsError):
    """Reading an instrument failed.

    Attributes:
        port: the device file or `host:port`.
    """

    def __init__(self, port: str, sentence: str) -> None:
        self.port = port
        super().__init__(sentence)


class PortError(InstrumentError):
    """The line itself cannot be used now."""


class PortMissing(PortError):
    """There is no such device file, or the host's name is unknown."""

    def __init__(self, port: str, detail: str) -> None:
        super().__init__(port, f"{port} is not there: {detail}")


class PortBusy(PortError):
    """Another program has the serial port.

    Attributes:
        holders: those that have it open, as far as this account may see them.
    """

    def __init__(self, port: str, holders: Sequence[str] = ()) -> None:
        self.holders = tuple(holders)
        if holders:
            whose = f"{port} is in use by {', '.join(holders)}."
        else:
            whose = f"{port} is in use by another program; `fuser {shlex.quote(port)}` names it."
        super().__init__(port, f"{whose} Stop it, or give it another port")


class PortDenied(PortError):
    """The port exists, but the agent's account may not open it."""

    def __init__(self, port: str, account: str, group: str) -> None:
        self.account = account
        self.group = group
        remedy = (
            f"add the account to the group {group} (`sudo usermod -aG {group} {account}`) and start the agent again"
        )
        if group == "root":  # never advise that: it would give the account far more than a port
            remedy = 'give the port to the group dialout, by a udev rule with GROUP="dialout", MODE="0660"'
        super().__init__(port, f"{port} may not be opened by {account}: {remedy}")


class PortRefused(PortError):
    """The TCP endpoint does not take the connection."""

    def __init__(self, port: str, detail: str) -> None:
        super().__init__(
            port,
            f"{port} takes no connection: {detail}; check address, cable and whether the instrument has Modbus TCP on",
        )


class PortLost(PortError):
    """The line was open and is gone."""

    def __init__(self, port: str, detail: str) -> None:
        super().__init__(port, f"{port} was lost: {detail}")


class ReplyTimeout(InstrumentError):
    """No complete reply came in time.

    Attributes:
        unit: the Modbus unit, the letter or number of an instrument on a line of text, or None on a line with one.
        timeout_s: how long was waited.
        received: bytes that had come by then.
    """

    def __init__(self, port: str, unit: int | str | None, timeout_s: float, received: int = 0) -> None:
        self.unit = unit
        self.timeout_s = timeout_s
        self.received = received
        part = "no reply" if not received else f"only {received} bytes"
        who = "" if unit is None else f" from unit {unit}"
        super().__init__(port, f"{part}{who} on {port} within {timeout_s:g} s")


class ReplyRefused(InstrumentError):
    """A reply came that is no sound answer to what was asked; it was thrown away.

    Attributes:
        unit: the unit asked, or None on a line with one instrument.
        reason: what is wrong with it.
        reply: its bytes.
    """

    def __init__(self, port: str, unit: int | str | None, reason: str, reply: bytes = b"") -> None:
        self.unit = unit
        self.reason = reason
        self.reply = reply
        who = "" if unit is None else f" to unit {unit}"
        super().__init__(port, f"the reply{who} on {port} was refused: {reason}")


class ReplyOutOfStep(ReplyRefused):
    """Replies lag behind requests, so that no value can be trusted."""


class InstrumentBusy(InstrumentError):
    """The instrument asks for patience, also at the second try.

    Attributes:
        unit: the unit asked, or None on a line with one instrument.
    """

    def __init__(self, port: str, unit: int | str | None) -> None:
        self.unit = unit
        who = "the instrument" if unit is None else f"unit {unit}"
        super().__init__(port, f"{who} on {port} is busy")


class InstrumentRefused(InstrumentError):
    """The instrument answers with an error.

    Attributes:
        unit: the unit asked, or None on a line with one instrument.
        code: the instrument's own code (`2`, `ES`).
        meaning: what the code means.
    """

    def __init__(self, port: str, unit: int | str | None, code: int | str, meaning: str) -> None:
        self.unit = unit
        self.code = code
        self.meaning = meaning
        who = "the instrument" if unit is None else f"unit {unit}"
        super().__init__(port, f"{who} on {port} answers error {code}: {meaning}")


class ValueDisowned(InstrumentError):
    """The instrument gives a value, and says that it is not to be used, or in another unit than expected.

    Attributes:
        unit: the Modbus unit.
        tag: whose value.
        reason: what the instrument says.
    """

    def __init__(self, port: str, unit: int, tag: str, reason: str) -> None:
        self.unit = unit
        self.tag = tag
        self.reason = reason
        super().__init__(port, f"unit {unit} on {port} says of {tag}: {reason}")


class WrongInstrument(InstrumentError):
    """Another model answers than the settings are for.

    Attributes:
        unit: the unit asked, or None on a line with one instrument.
        wanted: the profile that the settings name, or what they mean.
        found: what the instrument says it is; "" if it has no words for that.
    """

    def __init__(self, port: str, unit: int | None, wanted: str, found: str, *, is_profile: bool = True) -> None:
        self.unit = unit
        self.wanted = wanted
        self.found = found
        remedy = "check cables, `unit` and `profile`"
        if is_profile:
            remedy += f"; `lms-agent profile show {wanted}` says what is meant"
        who = "the instrument" if unit is None else f"unit {unit}"
        said = f"says it is {found}, which is" if found else "cannot say what it is, so it is"
        super().__init__(port, f"{who} on {port} {said} no {wanted}: {remedy}")


class NotWritable(InstrumentError):
    """A point cannot be written, or not with this value. Nothing was sent.

    Attributes:
        tag: of the point.
        reason: why not.
    """

    def __init__(self, port: str, tag: str, reason: str) -> None:
        self.tag = tag
        self.reason = reason
        super().__init__(port, f"{tag} cannot be written: {reason}")
