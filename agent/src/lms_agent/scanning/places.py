"""The ports and addresses to look at, and which of them must be left alone.

A line that the running agent has is its own: a second master there would spoil its readings. A port that another
program has open is left alone as well.
"""

import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lms_agent.buses.adapters import holders
from lms_agent.buses.present import present_ports
from lms_agent.log.lock import is_written

MODBUS_PORT = 502


class Place(NamedTuple):
    """Somewhere that instruments may hang.

    Attributes:
        name: the device file, or `host:port`.
        host, port: of a TCP endpoint; "" and 0 for a serial port.
        obstacle: why it is left alone; "" if it is not.
    """

    name: str
    host: str = ""
    port: int = 0
    obstacle: str = ""


def places(named: Sequence[str], config: Path) -> list[Place]:
    """What to look at: what is named, or all serial ports that are present.

    Args:
        named: device files, hosts, or `host:port`.
        config: of the agent that may run on this computer.
    """
    taken = _taken(config)
    names = list(named) or [port.port for port in present_ports()]
    return [_endpoint(name, taken) if _is_endpoint(name) else _serial(name, taken) for name in names]


def _is_endpoint(name: str) -> bool:
    return not name.startswith(("/", ".")) and not Path(name).exists()


def _endpoint(name: str, taken: set[str]) -> Place:
    host, _, port = name.rpartition(":") if ":" in name else (name, "", "")
    number = int(port) if port.isdigit() else MODBUS_PORT
    place = f"{host}:{number}"
    return Place(place, host, number, _OF_THE_AGENT if place in taken else "")


_OF_THE_AGENT = "the running agent reads it; `sudo systemctl stop lms-agent` first, and start it again afterwards"


def _serial(name: str, taken: set[str]) -> Place:
    path = Path(name)
    if os.path.realpath(path) in taken:
        return Place(name, obstacle=_OF_THE_AGENT)
    others = ", ".join(str(holder) for holder in holders(str(path)))
    if others:
        return Place(name, obstacle=f"it is open in {others}: end that program first")
    return Place(name)


def _taken(config: Path) -> set[str]:
    """What the running agent has: device files, as they are now, and `host:port`; empty if none runs."""
    try:
        document = tomllib.loads(config.read_text(encoding="utf-8"))
        log = config.absolute().parent / Path(str(document["agent"]["log"])).expanduser()
        if not is_written(log):
            return set()
        taken = set()
        for bus in document.get("bus", []):
            if bus.get("kind") == "modbus-tcp":
                taken.add(f"{bus.get('host')}:{bus.get('port', MODBUS_PORT)}")
            else:
                taken.add(os.path.realpath(str(bus.get("port"))))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()
    return taken
