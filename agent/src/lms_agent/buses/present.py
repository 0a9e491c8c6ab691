"""The serial ports that are there now, each by the name that stays when its adapter is plugged in again.

Neighbours: `lms_agent.doctor`, `lms_agent.scanning` and `lms_agent.starting` show them.
"""

import os
from pathlib import Path
from typing import NamedTuple

from serial.tools import list_ports

from lms_agent.buses.adapters import BY_ID


class PresentPort(NamedTuple):
    """A serial port.

    Attributes:
        port: the name to write into a configuration.
        device: the device file that it leads to now.
        about: what the adapter says of itself; "" if it says nothing.
    """

    port: str
    device: str
    about: str


def present_ports(by_id: Path = BY_ID) -> list[PresentPort]:
    """All of them, adapters first."""
    names = {os.path.realpath(link): str(link) for link in sorted(by_id.glob("*"))}
    found = []
    for info in list_ports.comports():
        name = names.pop(info.device, info.device)
        about = info.description if info.description not in ("n/a", info.device, None) else ""
        found.append(PresentPort(name, info.device, about))
    found += [PresentPort(name, device, "") for device, name in names.items()]
    return sorted(found, key=lambda port: (not port.port.startswith(str(by_id)), port.port))
