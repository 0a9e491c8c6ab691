"""The whole examination, in an order in which the first bad one is likely the cause of the others."""

from collections.abc import AsyncIterator
from pathlib import Path

from lms_agent.accounts import account_name
from lms_agent.app import broker_address
from lms_agent.doctor import broker, calibrations, database, machine, ports, service
from lms_agent.doctor.finding import Finding, bad, good, unknown
from lms_agent.errors import SettingsError
from lms_agent.health import is_fresh, read_status
from lms_agent.log.lock import is_written
from lms_agent.log.reader import is_hidden
from lms_agent.settings import AgentSettings, load_settings
from lms_agent.timekeeping.telling import agent_now_ms


async def examine(config: Path) -> AsyncIterator[Finding]:
    """Everything, one finding after another.

    Args:
        config: the configuration; if it cannot be used, what needs none is looked at all the same.
    """
    try:
        settings = load_settings(config, with_secret=False)
    except SettingsError as error:
        for problem in error.problems:
            yield bad("configuration", f"{config}, {problem}", "")
        for finding in (machine.account(), machine.clock(), ports.present(), service.service(None, None)):
            yield finding
        return
    yield _configuration(config, settings)
    async for finding in _of(settings):
        yield finding


async def _of(settings: AgentSettings) -> AsyncIterator[Finding]:
    log = settings.agent.log
    if is_hidden(log):
        for finding in (machine.account(), machine.clock(), ports.present(), _hidden(log)):
            yield finding
        return
    status = read_status(log) if is_written(log) else None
    if status is not None and not is_fresh(status):
        status = None
    agent_pid = database.running_agent(log, status)
    for finding in (machine.account(), machine.clock(), *machine.disk(log, settings.agent.log_limits)):
        yield finding
    yield ports.present()
    async for finding in ports.buses(settings, agent_pid):
        yield finding
    if status is not None:
        for bus in settings.buses:
            for finding in ports.failing(bus, settings, status["instruments"]):
                yield finding
    address = broker_address(settings)
    async for finding in broker.broker(settings.broker, address, try_account=agent_pid is None):
        yield finding
    for finding in (*database.database(log, status), *calibrations.calibrations(settings, agent_now_ms(status))):
        yield finding
    yield service.service(agent_pid, status)


def _hidden(log: Path) -> Finding:
    """Another account's agent: what it holds, and whether it runs, is not to be seen."""
    found = f"{account_name()} may not look at {log}, so nothing more can be told"
    return unknown("agent", found, "`sudo lms-agent doctor`, or get the group that the log belongs to")


def _configuration(config: Path, settings: AgentSettings) -> Finding:
    counts = [
        (len(settings.instruments), "instrument"),
        (len(settings.buses), "bus"),
        (len(settings.tag_descriptions()), "tag"),
    ]
    told = ", ".join(
        f"{count} {thing if count == 1 else {'bus': 'buses'}.get(thing, thing + 's')}" for count, thing in counts
    )
    return good("configuration", f"{config} can be used: {told}")
