"""The agent, wired: settings → log → sampling → log → sending, in one TaskGroup; and its end in good order.

    start   log opened, tags numbered, gaps of the time before closed or taken over, then everything at once
    stop    sampling ends and its last scans are logged; deaths are published; the log is closed
    kill    nothing is lost: what was logged is on the disk, and the next start records the interval as a gap

Neighbours: `lms_agent.cli.run` calls it; every other part of the agent is called from here.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from lms_protocol.edge import EdgeSession
from lms_protocol.reading import TagDescription

from lms_agent.health import Health, InstrumentHealth
from lms_agent.log.absence import Absence
from lms_agent.log.keeping import Keeping
from lms_agent.log.sqlite_log import SqliteLog
from lms_agent.notify import Notifier
from lms_agent.registering import register, to_be_born
from lms_agent.sampling import Sampling
from lms_agent.sending.connection import Address
from lms_agent.sending.sender import Sender
from lms_agent.settings import AgentSettings
from lms_agent.timekeeping.discipline import Rules
from lms_agent.timekeeping.source import Computer, TimeSource
from lms_agent.timekeeping.timekeeper import Timekeeper

LOGGER = logging.getLogger(__name__)

LAST_SCANS_S = 5.0
"""How long the scans that are under way may take to end up in the log when the agent stops."""


async def run_agent(
    settings: AgentSettings,
    stop: asyncio.Event,
    *,
    source: TimeSource | None = None,
    notifier: Notifier | None = None,
) -> None:
    """Run the agent until `stop` is set.

    Args:
        source: the computer's clocks; others in simulations.

    Raises:
        LogError: the log cannot be opened.
        ExceptionGroup: a part of the agent broke in a way that nobody foresaw.
    """
    log = await asyncio.to_thread(SqliteLog.open, settings.agent.log, limits=settings.agent.log_limits)
    try:
        await _run(settings, log, stop, source or Computer(), notifier or Notifier())
    finally:
        await asyncio.to_thread(log.close)
        LOGGER.info("The log is closed; %d batches wait for the cloud", log.head - log.acked)


async def _run(
    settings: AgentSettings, log: SqliteLog, stop: asyncio.Event, source: TimeSource, notifier: Notifier
) -> None:
    clock = await Timekeeper.begin(source, log, log.head, Rules(wait_s=settings.agent.clock_wait_s))
    tags = await asyncio.to_thread(register, log, settings)
    instruments = tags_by_instrument(settings, tags)
    absence = Absence(log, instruments.values())
    keeping = Keeping(log, absence, clock.stamps)
    sampling = Sampling(
        settings, tags, keeping.take, next_gap_id=log.next_gap_id, open_gaps=absence.open_gaps, clock=clock.stamps
    )
    sender = Sender(
        log=log,
        session=EdgeSession(
            group=settings.agent.group,
            node=settings.agent.id,
            stream=log.stream,
            bd_seq=log.bd_seq,
            tags=await asyncio.to_thread(to_be_born, log, tags),
            primary_host=settings.broker.primary_host,
        ),
        address=broker_address(settings),
        clock=clock,
        holding=clock,
    )
    clock.listen(sender.wake)
    health = Health(
        about={"agent": settings.agent.id, "group": settings.agent.group, "url": settings.broker.url},
        log=log,
        keeping=keeping.state,
        sending=sender.state,
        instruments=InstrumentHealth(
            {tag: instrument for instrument, group in instruments.items() for tag in group}, absence.open_gaps
        ),
        clock=clock,
        notifier=notifier,
    )
    await keeping.close_orphans()
    LOGGER.info("Log %s, stream %s, %d batches", log.path, log.stream, log.head)
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(sampling.run(), name="sampling")
        sending = tasks.create_task(sender.run(), name="sending")
        others = [tasks.create_task(part, name=name) for name, part in _background(clock, keeping, health)]
        notifier.ready()
        await stop.wait()
        LOGGER.info("Stopping")
        notifier.stopping()
        reading.cancel()
        await asyncio.wait((reading,), timeout=LAST_SCANS_S)
        await keeping.end()
        sender.stop()
        await asyncio.wait((sending,))
        for task in others:
            task.cancel()
    await asyncio.to_thread(health.write)


def _background(clock: Timekeeper, keeping: Keeping, health: Health) -> list[tuple[str, Coroutine[Any, Any, None]]]:
    return [("timekeeping", clock.run()), ("keeping", keeping.run()), ("health", health.run())]


def tags_by_instrument(settings: AgentSettings, tags: list[TagDescription]) -> dict[str, tuple[int, ...]]:
    """The numbers of each instrument's tags."""
    numbers = {(tag.device, tag.name): tag.number for tag in tags}
    return {
        instrument.id: tuple(numbers[instrument.bioreactor, point.tag] for point in instrument.points)
        for instrument in settings.instruments
    }


def broker_address(settings: AgentSettings) -> Address:
    """Where the broker of the settings is, and as whom to connect."""
    broker = settings.broker
    return Address(
        url=broker.url,
        host=broker.host,
        port=broker.port,
        tls=broker.tls,
        account=broker.account,
        read_password=broker.read_password,
        ca_file=broker.ca_file,
        client_id=f"{settings.agent.group}.{settings.agent.id}",
    )
