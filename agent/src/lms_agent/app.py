"""The agent, wired: settings → log → sampling → log → sending, in one TaskGroup; and its end in good order.

    start   log opened, tags numbered, gaps of the time before closed or taken over, then everything at once
    stop    sampling ends and its last scans are logged; deaths are published; the log is closed
    reload  other settings: the scans under way end, then those of the new settings begin; the log stays open
    kill    nothing is lost: what was logged is on the disk, and the next start records the interval as a gap

Neighbours: `lms_agent.cli.run` calls it; every other part of the agent is called from here.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from lms_protocol.edge import EdgeSession
from lms_protocol.reading import TagDescription

from lms_agent.calibration.keeping import CalibrationKeeping
from lms_agent.commands import Commands, CommandStore
from lms_agent.commands.store import StoreUnavailable
from lms_agent.ending import end
from lms_agent.health import Health, InstrumentHealth, read_status
from lms_agent.log.absence import TAKING_OVER, Absence
from lms_agent.log.care import Care
from lms_agent.log.errors import LogError
from lms_agent.log.keeping import Keeping
from lms_agent.log.sqlite_log import SqliteLog
from lms_agent.notify import Notifier
from lms_agent.processing.following import followers, with_followers
from lms_agent.registering import register, to_be_born
from lms_agent.reloading import Reloading
from lms_agent.sampling import Sampling
from lms_agent.sending.connection import Address
from lms_agent.sending.sender import Sender
from lms_agent.service.desk import Desk
from lms_agent.service.door import Door
from lms_agent.service.socket_file import socket_path
from lms_agent.settings import AgentSettings
from lms_agent.timekeeping.discipline import Rules, Trust
from lms_agent.timekeeping.source import Computer, TimeSource
from lms_agent.timekeeping.timekeeper import Timekeeper

LOGGER = logging.getLogger(__name__)

LAST_SCANS_S = 5.0
"""How long the scans that are under way may take to end up in the log when the agent stops."""

BEARABLE_PERIODS = 1.5
"""Readings that lie less than this many periods apart have no scan missing between them."""


async def run_agent(
    settings: AgentSettings,
    stop: asyncio.Event,
    *,
    source: TimeSource | None = None,
    notifier: Notifier | None = None,
    reloading: Reloading | None = None,
) -> None:
    """Run the agent until `stop` is set.

    Args:
        source: the computer's clocks; others in simulations.
        reloading: when other settings are to be taken over, and where they come from.

    Raises:
        LogError: the log cannot be opened.
        ExceptionGroup: a part of the agent broke in a way that nobody foresaw.
    """
    told = await asyncio.to_thread(read_status, settings.agent.log)
    log = await asyncio.to_thread(SqliteLog.open, settings.agent.log, limits=settings.agent.log_limits)
    try:
        clock = await Timekeeper.begin(source or Computer(), log, log.head, Rules(wait_s=settings.agent.clock_wait_s))
        log.number_gaps_above(clock.wall_ms())
        agent = _Agent(log, clock, notifier or Notifier(), reloading or Reloading())
        await agent.run(settings, stop, gone_since_ms=_gone_since_ms(told or {}, log))
    finally:
        await asyncio.to_thread(log.close)
        LOGGER.info("The log is closed; %d batches wait for the cloud", log.head - log.acked)


def _gone_since_ms(told: Mapping[str, Any], log: SqliteLog) -> int | None:
    """When the agent last said that it kept another log; None if this is the one, or nobody can tell."""
    try:
        another = told["log"]["stream"] != str(log.stream) and not log.head
        known = told["clock"]["trust"] != Trust.WRONG
        return int(told["written_at_ms"]) if another and known else None
    except (KeyError, TypeError, ValueError):
        return None


@dataclass
class _Parts:
    """What the settings decide. Other settings, other parts."""

    settings: AgentSettings
    absence: Absence
    sampling: Sampling
    sender: Sender
    instruments: InstrumentHealth

    @property
    def bearable_ms(self) -> dict[int, float]:
        """By tag, how far apart two readings may lie without a scan missing between them."""
        following = self.sampling.processing.following
        return {
            tag: BEARABLE_PERIODS * 1000 * instrument.period_s
            for instrument in sorted(self.sampling.instruments, key=lambda each: each.period_s)
            for tag in with_followers(instrument.tags, following)
        }


class _Lasting(NamedTuple):
    """What stays as it is when other settings are taken over."""

    keeping: Keeping
    commands: Commands
    calibrations: CalibrationKeeping


class _Agent:
    """The parts of the agent on one log, from its start to its end."""

    def __init__(self, log: SqliteLog, clock: Timekeeper, notifier: Notifier, reloading: Reloading) -> None:
        self._log = log
        self._clock = clock
        self._notifier = notifier
        self._reloading = reloading

    async def run(self, settings: AgentSettings, stop: asyncio.Event, *, gone_since_ms: int | None) -> None:
        """Read, keep and send until `stop` is set; `gone_since_ms`: until when a log that is gone had readings."""
        log = self._log
        tags = await asyncio.to_thread(register, log, settings)
        absence = Absence(log, tags_read_together(settings, tags), gone_since_ms=gone_since_ms)
        keeping = Keeping(log, absence, self._clock.stamps)
        calibrations = CalibrationKeeping(log.path, keeping, self._clock)
        await calibrations.load()
        commands = Commands(await asyncio.to_thread(self._command_store, settings), log, self._clock)
        lasting = _Lasting(keeping, commands, calibrations)
        parts = await self._parts(settings, tags, absence, lasting)
        commands.follow(settings, tags, parts.sampling.bench)
        self._clock.listen(lambda: parts.sender.wake())  # noqa: PLW0108 - the parts are exchanged
        health = Health(
            about={"agent": settings.agent.id, "group": settings.agent.group, "url": settings.broker.url},
            log=log,
            keeping=keeping.state,
            sending=parts.sender.state,
            instruments=parts.instruments,
            sampling=parts.sampling,
            clock=self._clock,
            commands=commands,
            calibrations=calibrations,
            reloading=self._reloading,
            notifier=self._notifier,
        )
        care = Care(log, self._clock, restamp=self._clock.renewed)
        desk = Desk(health, commands, calibrations, self._clock, parts.sampling.bench)
        door = Door(socket_path(log.path), desk.answers)
        await keeping.close_orphans()
        await calibrations.tell_untold(log.latest())
        LOGGER.info("Log %s, stream %s, %d batches", log.path, log.stream, log.head)
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(parts.sampling.run(), name="sampling")
            sending = tasks.create_task(parts.sender.run(), name="sending")
            background = {
                "timekeeping": self._clock.run(),
                "keeping": keeping.run(),
                "health": health.run(),
                "care": care.run(),
                "commands": commands.run(),
                "door": door.run(),
            }
            others = [tasks.create_task(part, name=name) for name, part in background.items()]
            self._notifier.ready()
            while await _reload_before_stop(stop, self._reloading.asked):
                fresh = await self._reloading.fresh(parts.settings)
                numbered = None if fresh is None else await self._register(fresh, keeping)
                if fresh is None or numbered is None:
                    continue
                parts.sampling.finish()
                in_time = await _ended(reading)
                absence = Absence(
                    log,
                    tags_read_together(fresh, numbered),
                    reason=TAKING_OVER,
                    bearable_ms=parts.bearable_ms,
                )
                keeping.resume(absence)
                late = not in_time or keeping.state.waiting > 0
                old, parts = parts, await self._parts(fresh, numbered, absence, lasting, others_may_come=late)
                commands.follow(fresh, numbered, parts.sampling.bench)
                reading = tasks.create_task(parts.sampling.run(), name="sampling")
                await keeping.close_orphans()
                old.sender.stop()
                await asyncio.wait((sending,))
                sending = tasks.create_task(parts.sender.run(), name="sending")
                health.follow(
                    url=fresh.broker.url,
                    sending=parts.sender.state,
                    instruments=parts.instruments,
                    sampling=parts.sampling,
                )
                desk.follow(parts.sampling.bench)
                LOGGER.info("The new settings are taken over")
            LOGGER.info("Stopping")
            self._notifier.stopping()
            reading.cancel()
            await asyncio.wait((reading,), timeout=LAST_SCANS_S)
            await commands.end()
            await keeping.end()
            parts.sender.stop()
            await asyncio.wait((sending,))
            for task in others:
                task.cancel()
        await asyncio.to_thread(health.write)

    async def _parts(
        self,
        settings: AgentSettings,
        tags: list[TagDescription],
        absence: Absence,
        lasting: _Lasting,
        *,
        others_may_come: bool = False,
    ) -> _Parts:
        log = self._log
        sampling = Sampling(
            settings,
            tags,
            lasting.keeping.take,
            next_gap_id=log.next_gap_id,
            open_gaps=absence.open_gaps,
            clock=self._clock.stamps,
            calibrations=lasting.calibrations.held,
        )
        lasting.calibrations.follow(settings, sampling.processing, {(tag.device, tag.name): tag.number for tag in tags})
        session = EdgeSession(
            group=settings.agent.group,
            node=settings.agent.id,
            stream=log.stream,
            bd_seq=log.bd_seq,
            tags=await asyncio.to_thread(to_be_born, log, tags, others_may_come=others_may_come),
            primary_host=settings.broker.primary_host,
            takes_commands=settings.commands.remote,
        )
        sender = Sender(
            log=log,
            session=session,
            address=broker_address(settings),
            clock=self._clock,
            holding=self._clock,
            on_command=lasting.commands.hear,
        )
        instruments = InstrumentHealth(
            {tag: instrument for instrument, group in tags_by_instrument(settings, tags).items() for tag in group},
            absence.open_gaps,
        )
        return _Parts(settings, absence, sampling, sender, instruments)

    def _command_store(self, settings: AgentSettings) -> CommandStore:
        """What is known of commands. An agent that cannot know it reads instruments all the same."""
        devices = [bioreactor.id for bioreactor in settings.bioreactors]
        try:
            store = CommandStore.open(self._log.path, devices, self._clock.wall_ms())
        except StoreUnavailable as error:
            LOGGER.error("%s. Until it can, all bioreactors are locked against commands of hosts.", error)
            return CommandStore.in_memory(self._log.path, devices, error, self._clock.wall_ms())
        if store.damaged is not None:
            LOGGER.error(
                "%s was damaged and is now %s: all bioreactors are LOCKED against commands of hosts, "
                "as nobody knows which were; look, and use `lms-agent unlock`",
                store.path,
                store.damaged,
            )
        return store

    async def _register(self, settings: AgentSettings, keeping: Keeping) -> list[TagDescription] | None:
        """The tags of new settings, numbered; None if the log cannot be written now. Says so."""
        if keeping.state.waiting:
            self._reloading.refuse("The log cannot be written just now.")
            return None
        try:
            return await asyncio.to_thread(register, self._log, settings)
        except LogError as error:
            self._reloading.refuse(str(error))
            return None


async def _reload_before_stop(stop: asyncio.Event, reload: asyncio.Event) -> bool:
    """Wait for either; whether it was the wish to reload, and not to stop."""
    waiting = [asyncio.ensure_future(event.wait()) for event in (stop, reload)]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end(waiting)
    return not stop.is_set()


async def _ended(reading: "asyncio.Task[None]") -> bool:
    """Wait for the scans that are under way; not for ever. Whether they came in time."""
    _, late = await asyncio.wait((reading,), timeout=LAST_SCANS_S)
    await end((reading,))
    return not late


def tags_by_instrument(settings: AgentSettings, tags: list[TagDescription]) -> dict[str, tuple[int, ...]]:
    """The numbers of each instrument's tags."""
    numbers = {(tag.device, tag.name): tag.number for tag in tags}
    return {
        instrument.id: tuple(numbers[instrument.bioreactor, point.tag] for point in instrument.points)
        for instrument in settings.instruments
    }


def tags_read_together(settings: AgentSettings, tags: list[TagDescription]) -> list[tuple[int, ...]]:
    """The numbers of each instrument's tags, with those of all tags that are made from them."""
    following = followers(settings, {(tag.device, tag.name): tag.number for tag in tags})
    return [with_followers(group, following) for group in tags_by_instrument(settings, tags).values()]


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
