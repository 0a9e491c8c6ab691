"""What has to be known to configure an agent."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

BusKind = Literal["modbus-rtu", "modbus-tcp", "serial"]


@dataclass(frozen=True)
class BusAnswer:
    """A line.

    Attributes:
        port: of a serial line.
        host, tcp_port: of a Modbus TCP endpoint.
        baud, parity, stop_bits: of a serial line; None where the instrument's profile says it.
    """

    id: str
    kind: BusKind
    port: str = ""
    host: str = ""
    tcp_port: int = 502
    baud: int | None = None
    parity: str | None = None
    stop_bits: int | None = None


@dataclass(frozen=True)
class PointAnswer:
    """A point: of a profile, where only the tag is another; or one in registers, where there is no profile.

    Attributes:
        tag: its name.
        point: the profile's name for it; "" without a profile.
        keys: further keys, as TOML has their values.
    """

    tag: str
    point: str = ""
    keys: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class InstrumentAnswer:
    """An instrument.

    Attributes:
        profile: the id of its profile; "" without.
        about: maker and model, for the comment.
        bus: the id of its line.
        unit: a Modbus unit, a pump's number or an Alicat's letter; None where its dialect has none.
        points: those that the file must name.
    """

    id: str
    profile: str
    about: str
    bus: str
    bioreactor: str
    unit: int | str | None = None
    points: tuple[PointAnswer, ...] = ()


@dataclass(frozen=True)
class Answers:
    """All of it.

    Attributes:
        group: the organization's wire id.
        agent: the agent's name.
        bioreactors: id and name of each.
        password_file, ca_file: as they stand in the file.
    """

    group: str
    agent: str
    log: Path
    url: str
    account: str
    password_file: Path
    bioreactors: tuple[tuple[str, str], ...]
    buses: tuple[BusAnswer, ...]
    instruments: tuple[InstrumentAnswer, ...]
    ca_file: Path | None = None
    primary_host: str = "lms-cloud"
