"""Serial ports and TCP instruments: is the port there, may it be opened, and who has it?

Nothing is sent, and a serial port is not even opened: that would switch its lines, and some instruments restart then. A
TCP instrument that the running agent reads is left alone, for many take one connection only.
"""

import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from lms_agent.accounts import account_name
from lms_agent.buses.adapters import holders
from lms_agent.buses.present import PresentPort, present_ports
from lms_agent.buses.tcp_stream import TcpStream
from lms_agent.clock import SystemClock
from lms_agent.doctor.finding import Finding, bad, good, note
from lms_agent.errors import PortError
from lms_agent.settings import AgentSettings, BusSettings, ModbusTcpBus

CONNECT_S = 3.0


def present() -> Finding:
    """Which serial ports there are at all."""
    found = present_ports()
    if not found:
        return note("serial ports", "none is present", "if one should be: plug in the adapter, and look at `dmesg`")
    return good("serial ports", "\n".join(told(port) for port in found))


def told(port: PresentPort) -> str:
    """A port for people: its name, where that leads, what its adapter says."""
    more = [port.device] if port.device != port.port else []
    more += [port.about] if port.about else []
    return f"{port.port} ({', '.join(more)})" if more else port.port


async def buses(settings: AgentSettings, agent_pid: int | None) -> AsyncIterator[Finding]:
    """Each bus of the configuration.

    Args:
        agent_pid: the process that runs as this configuration's agent, if any.
    """
    for bus in settings.buses:
        if isinstance(bus, ModbusTcpBus):
            yield await _endpoint(bus, agent_pid)
        else:
            for finding in _serial(bus.id, bus.port, agent_pid):
                yield finding


async def _endpoint(bus: ModbusTcpBus, agent_pid: int | None) -> Finding:
    subject = f"bus {bus.id}"
    if agent_pid is not None:
        return good(subject, f"{bus.host}:{bus.port}, left to the running agent (process {agent_pid})")
    stream = TcpStream(bus.host, bus.port, timeout_s=CONNECT_S, clock=SystemClock())
    try:
        await stream.open()
    except PortError as error:
        return bad(
            subject, str(error).rstrip("."), "check address, cable and power; `ping` tells whether anybody is there"
        )
    stream.close()
    return good(subject, f"{bus.host}:{bus.port} takes a connection")


def _serial(bus: str, port: str, agent_pid: int | None) -> list[Finding]:
    subject = f"bus {bus}"
    path = Path(port)
    if not path.exists():
        names = ", ".join(one.port for one in present_ports()) or "none"
        return [bad(subject, f"there is no {port}", f"plug the adapter in; ports that are there now: {names}")]
    if not os.access(path, os.R_OK | os.W_OK):
        return [_denied(subject, path)]
    found = [_held(subject, path, agent_pid)]
    steady = _steady_name(path)
    if steady is not None:
        remedy = f'write port = "{steady}"'
        found.append(note(subject, f"{port} may be another adapter after the next start", remedy))
    return found


def _denied(subject: str, path: Path) -> Finding:
    name = account_name()
    try:
        group = path.group()
    except (KeyError, OSError):
        group = "dialout"
    found = f"{name} may not open {path}, which belongs to the group {group}"
    return bad(subject, found, f"`sudo usermod -aG {group} {name}`, then log in again")


def _held(subject: str, path: Path, agent_pid: int | None) -> Finding:
    others = [holder for holder in holders(str(path)) if holder.pid != agent_pid]
    if others:
        names = ", ".join(str(holder) for holder in others)
        return bad(
            subject, f"{path} is open in {names}", "end that program: two on one line answer each other's questions"
        )
    if agent_pid is not None:
        return good(subject, f"{path}, in the hands of the running agent (process {agent_pid})")
    return good(subject, f"{path} is there and may be opened")


def _steady_name(path: Path) -> str | None:
    """The name by id of a port that is named by its number; None if it has none, or is not named so."""
    if not path.name.startswith(("ttyUSB", "ttyACM")):
        return None
    return next((port.port for port in present_ports() if port.device == str(path) and port.port != str(path)), None)


def failing(bus: BusSettings, settings: AgentSettings, states: Mapping[str, Mapping[str, object]]) -> list[Finding]:
    """The instruments of a bus that the running agent does not reach, with its own words."""
    return [
        bad(
            instrument.id,
            str(state["reason"]),
            f"`lms-agent read --instrument {instrument.id}` tries it once",
        )
        for instrument in settings.instruments_on(bus.id)
        if (state := states.get(instrument.id)) is not None and state["failing_since_ms"] is not None
    ]
