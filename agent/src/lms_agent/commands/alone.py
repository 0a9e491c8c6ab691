"""Setting and locking where no agent runs: the same checks, the same log, and an end.

Neighbours: `lms-agent set`, `lock` and `unlock` call it if nobody answers at the agent's door.
"""

import asyncio
from contextlib import closing
from uuid import uuid4

from lms_protocol.command_book import Record
from lms_protocol.commands import CommandEvent, Lock, LockState, SetPoint, Source

from lms_agent.bench import opened
from lms_agent.commands.commanding import Commands, NotNow
from lms_agent.commands.store import CommandStore
from lms_agent.log.errors import LogInUse
from lms_agent.log.lock import WriterLock
from lms_agent.log.sqlite_log import SqliteLog
from lms_agent.registering import register
from lms_agent.settings import AgentSettings
from lms_agent.timekeeping.discipline import Rules
from lms_agent.timekeeping.source import Computer
from lms_agent.timekeeping.timekeeper import Timekeeper


async def set_alone(settings: AgentSettings, command: SetPoint, lifetime_ms: int, account: str) -> Record:
    """Set a tag on buses of our own, and have the log tell of it as a running agent would.

    Args:
        command: its times count for nothing: it is issued now, by the agent's clock.

    Raises:
        LogInUse: an agent runs, though it does not answer.
        LmsError: the log, or what is known of commands, cannot be used.
    """
    log = await asyncio.to_thread(SqliteLog.open, settings.agent.log, limits=settings.agent.log_limits)
    try:
        clock = await Timekeeper.begin(Computer(), log, log.head, Rules(wait_s=settings.agent.clock_wait_s))
        tags = await asyncio.to_thread(register, log, settings)
        devices = [bioreactor.id for bioreactor in settings.bioreactors]
        store = await asyncio.to_thread(CommandStore.open, log.path, devices, clock.wall_ms())
        commands = Commands(store, log, clock)
        mine = [one for one in settings.instruments if any(point.tag == command.tag for point in one.points)]
        try:
            async with opened(settings, mine) as bench:
                commands.follow(settings, tags, bench)
                now_ms = clock.wall_ms()
                return await commands.set(command.valid_from(now_ms, lifetime_ms), account)
        finally:
            await commands.end()
    finally:
        await asyncio.to_thread(log.close)


def lock_alone(
    settings: AgentSettings, device: str, lock: Lock | None, *, by: str, why: str, account: str, now_ms: int
) -> None:
    """Lock a bioreactor, or unlock it; the next agent on this log finds it so, and tells it.

    Raises:
        NotNow: an agent runs, though it does not answer; or there is no such bioreactor.
        StoreUnavailable, LogUnavailable: what is known of locks cannot be read or written.
    """
    known = list(dict.fromkeys(tag.device for tag in settings.tag_descriptions() if tag.access == "write"))
    if device not in known:
        raise NotNow(f"no bioreactor {device!r} with a tag that can be set; the configuration has {', '.join(known)}")
    state = LockState.UNLOCKED if lock is None else LockState.LOCKED
    event = CommandEvent(f"lock-{uuid4()}", state, now_ms, by, why, Source.BENCH, account=account)
    try:
        held = WriterLock.take(
            settings.agent.log
        )  # no agent may begin while this is not on the disk: it would not see it
    except LogInUse as error:
        words = "an agent runs, but does not answer; restart it (`systemctl restart lms-agent`)"
        raise NotNow(words) from error
    try:
        with closing(CommandStore.open(settings.agent.log, known, now_ms)) as store:
            store.save(events=[(device, event.to_text())], locks={device: lock})
    finally:
        held.release()
