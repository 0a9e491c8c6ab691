"""`lms-agent check`: is the configuration good, and what does it mean?

Opens no port. Shows what would be asked of which instrument, so that a mistake in an address is seen before it is read.
"""

import json
from typing import Any

import typer

from lms_agent.buses.wire_time import WireTime, wire_time_of
from lms_agent.cli.configuration import ConfigArgument, ConfigOption, JsonOption, load_or_exit
from lms_agent.cli.line_plan import counted, plan_of_instrument, plan_of_line, span
from lms_agent.cli.screen.prose import fitted
from lms_agent.settings import (
    AgentSettings,
    BusSettings,
    EzoInstrument,
    InstrumentSettings,
    ModbusInstrument,
    ModbusTcpBus,
    MtSicsInstrument,
)
from lms_agent.timekeeping.kernel import synchronised

_KINDS = {"modbus-rtu": "Modbus RTU", "modbus-tcp": "Modbus TCP", "serial": "lines of text"}


def check(config: ConfigArgument = None, config_option: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check the configuration and show what it means."""
    path, settings = load_or_exit(config_option or config, as_json=as_json)
    described = describe(settings)
    if as_json:
        typer.echo(json.dumps({"path": str(path), **described}, ensure_ascii=False))
    else:
        typer.echo(fitted([f"{path} is good.", *_told(settings, described)]))
    if described["warnings"]:
        raise typer.Exit(1)


def describe(settings: AgentSettings) -> dict[str, Any]:
    """What the configuration means, as JSON shows it; `warnings` holds sentences."""
    warnings = []
    for bus in settings.buses:
        line = plan_of_line(settings, bus)
        if line is not None and line.warning is not None:
            warnings.append(line.warning)
        if not settings.instruments_on(bus.id):
            warnings.append(f"bus {bus.id} has no instrument")
    named = {instrument.bioreactor for instrument in settings.instruments}
    warnings += [f"bioreactor {b.id} has no instrument" for b in settings.bioreactors if b.id not in named]
    return {
        "agent": settings.agent.id,
        "group": settings.agent.group,
        "log": str(settings.agent.log),
        "limits": settings.agent.log_limits.as_text(),
        "clock": {"synchronised": synchronised(), "wait_s": settings.agent.clock_wait_s},
        "broker": {"url": settings.broker.url, "account": settings.broker.account},
        "bioreactors": [{"id": b.id, "name": b.name} for b in settings.bioreactors],
        "tags": len(settings.tag_descriptions()),
        "buses": [_bus(bus, settings) for bus in settings.buses],
        "derived": [
            {"bioreactor": each.bioreactor, "tag": each.tag, "expression": each.expression} for each in settings.derived
        ],
        "warnings": warnings,
    }


def _bus(bus: BusSettings, settings: AgentSettings) -> dict[str, Any]:
    return {
        "id": bus.id,
        "kind": bus.kind,
        "port": port_of(bus),
        "timeout_s": bus.timeout_s,
        "instruments": [_instrument(instrument, wire_time_of(bus)) for instrument in settings.instruments_on(bus.id)],
    }


def _instrument(instrument: InstrumentSettings, wire: WireTime | None) -> dict[str, Any]:
    tags = [point.tag for point in instrument.points]
    described: dict[str, Any] = {
        "id": instrument.id,
        "bioreactor": instrument.bioreactor,
        "driver": instrument.driver,
        "period_s": instrument.period_s,
        "tags": tags,
    }
    if instrument.profile is not None:
        described["profile"] = instrument.profile
    if not isinstance(instrument, MtSicsInstrument | EzoInstrument):
        described["unit"] = instrument.unit
    if isinstance(instrument, ModbusInstrument) and wire is not None:
        described["blocks"] = [
            {
                "register": request.register,
                "address": request.address,
                "count": request.count,
                "tags": list(request.tags),
            }
            for request in plan_of_instrument(instrument, wire).requests
        ]
    return described


def port_of(bus: BusSettings) -> str:
    """A bus's port for people: `host:port`, or the device file."""
    return f"{bus.host}:{bus.port}" if isinstance(bus, ModbusTcpBus) else bus.port


def _told(settings: AgentSettings, described: dict[str, Any]) -> list[str]:
    lines = [
        f"Agent {described['agent']} of {described['group']}; log {described['log']}",
        f"Log {described['limits']}",
        _clock_line(**described["clock"]),
        f"Broker {settings.broker.url} as {settings.broker.account}",
    ]
    for bus, shown in zip(settings.buses, described["buses"], strict=True):
        lines.append(
            f"Bus {bus.id}: {_KINDS[bus.kind]} on {port_of(bus)}{line_setting(bus)}, timeout {bus.timeout_s:g} s"
        )
        for instrument in shown["instruments"]:
            lines += _instrument_lines(instrument)
    lines += [f"{each['tag']} of {each['bioreactor']} = {each['expression']}" for each in described["derived"]]
    lines.append(f"{counted(described['tags'], 'tag')} of {counted(len(settings.bioreactors), 'bioreactor')}")
    return lines + [f"Warning: {warning}" for warning in described["warnings"]]


def _clock_line(*, synchronised: bool | None, wait_s: float) -> str:
    now = {
        True: "synchronised",
        False: "NOT synchronised: check the network and the time server",
        None: "not known to be synchronised (neither kernel nor systemd-timesyncd says so)",
    }[synchronised]
    return f"Clock {now}; after a boot the agent waits {wait_s:g} s for that before it sends"


def line_setting(bus: BusSettings) -> str:
    """How a serial line is set, to be put behind its port; nothing for TCP."""
    if isinstance(bus, ModbusTcpBus):
        return ""
    return f", {bus.baud} baud {bus.data_bits}{bus.parity[0].upper()}{bus.stop_bits}"


def _instrument_lines(instrument: dict[str, Any]) -> list[str]:
    speaks = instrument.get("profile", "" if "blocks" in instrument else instrument["driver"])
    speaks = "" if speaks == instrument["id"] else f", {speaks}" * bool(speaks)
    unit = speaks + (f", unit {instrument['unit']}" if "unit" in instrument else "")
    lines = [f"  {instrument['id']}{unit}: {instrument['bioreactor']}, every {instrument['period_s']:g} s"]
    if "blocks" not in instrument:
        return [*lines, f"    {', '.join(instrument['tags'])}"]
    for block in instrument["blocks"]:
        where = span(block["address"], block["count"])
        lines.append(f"    {block['register']} {where}: {', '.join(block['tags'])}")
    return lines
