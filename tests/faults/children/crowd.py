"""Many agents in one process: each with a log and a sender of its own, as the agent has them, and no instruments.

Every agent logs a reading each PERIOD_S. Each connection that is made is said: when (CLOCK_MONOTONIC, s).
Usage: crowd.py FOLDER GROUP HOST BROKER_PORT ACCOUNT PASSWORD NODE…
"""

import asyncio
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiomqtt import Client, ProtocolVersion
from lms_agent.clock import SystemClock
from lms_agent.log.sqlite_log import SqliteLog
from lms_agent.sending.connection import Address, connect
from lms_agent.sending.sender import Sender
from lms_protocol.edge import EdgeSession
from lms_protocol.messages import SYNC_TAGS, Publish
from lms_protocol.reading import Datatype, Reading, TagDescription

PERIOD_S = 10.0


@asynccontextmanager
async def connect_and_say(address: Address, will: Publish, protocol: ProtocolVersion) -> AsyncIterator[Client]:
    """A connection as the agent's; says when it was made."""
    async with connect(address, will, protocol) as client:
        print(time.monotonic(), flush=True)
        yield client


async def live(log: SqliteLog, session: EdgeSession, address: Address, stop: asyncio.Event) -> None:
    """One agent, until `stop` is set."""
    chance = random.Random(session.node)
    sender = Sender(log=log, session=session, address=address, clock=SystemClock(), connect=connect_and_say)
    sending = asyncio.create_task(sender.run())
    await asyncio.sleep(chance.uniform(0.0, PERIOD_S))
    while not stop.is_set():
        await log.append(session.node, [Reading(1, time.time_ns() // 1_000_000, chance.random())])
        try:
            async with asyncio.timeout(PERIOD_S):
                await stop.wait()
        except TimeoutError:
            continue
    sender.stop()
    await sending


async def main(folder: Path, group: str, host: str, port: int, account: str, password: str, *nodes: str) -> None:
    """All agents, until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    logs = []
    async with asyncio.TaskGroup() as agents:
        for node in nodes:
            log = await asyncio.to_thread(SqliteLog.open, folder / f"{node}.sqlite3")
            logs.append(log)
            wanted = [TagDescription(0, node, "T/PV", Datatype.DOUBLE)]
            wanted += [TagDescription(0, node, name, datatype) for name, datatype in SYNC_TAGS.items()]
            session = EdgeSession(
                group=group,
                node=node,
                stream=log.stream,
                bd_seq=None,
                tags=log.register_tags(wanted),
                primary_host=host,
            )
            address = Address(
                url=f"mqtt://127.0.0.1:{port}",
                host="127.0.0.1",
                port=port,
                tls=False,
                account=account,
                read_password=lambda: password,
                ca_file=None,
                client_id=f"{group}.{node}",
            )
            agents.create_task(live(log, session, address, stop))
    for log in logs:
        await asyncio.to_thread(log.close)


folder, group, host, port, *others = sys.argv[1:]
asyncio.run(main(Path(folder), group, host, int(port), *others))
