"""The agent's log and sending, without instruments: sends what its log holds, and logs a scan every tenth of a second.

Run by tests/benchmarks/test_catching_up.py with one JSON argument. Begins to send at once; ends at SIGTERM, and then
prints what it has sent.
"""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from lms_agent.clock import SystemClock
from lms_agent.log.sqlite_log import SqliteLog
from lms_agent.sending.connection import Address
from lms_agent.sending.sender import Sender
from lms_protocol.edge import EdgeSession
from lms_protocol.messages import Publish
from lms_protocol.reading import Reading


class CountingSession(EdgeSession):
    """Counts what goes packed: topic, payload and MQTT's own bytes."""

    packs = packed_bytes = 0

    def packed(self, value: bytes, now_ms: int, logged: Mapping[int, bytes] = MappingProxyType({})) -> Publish:
        message = super().packed(value, now_ms, logged)
        self.packs += 1
        self.packed_bytes += len(message.payload) + len(message.topic) + 2 + 1 + 3 + 1
        return message


async def main(told: dict) -> None:
    with SqliteLog.open(Path(told["log"])) as log:
        tags = log.tags()
        session = CountingSession(
            group=told["group"],
            node=told["node"],
            stream=log.stream,
            bd_seq=log.bd_seq,
            tags=tags,
            primary_host=told["host_id"],
        )
        address = Address(
            "mqtt://broker",
            told["broker_host"],
            told["broker_port"],
            False,
            told["node"],
            lambda: told["password"],
            None,
            told["node"],
        )
        sender = Sender(log=log, session=session, address=address, clock=SystemClock())
        task = asyncio.create_task(sender.run())
        stopping = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
        numbers = [tag.number for tag in tags if not tag.name.startswith("Sync/")]
        scan = 0
        while not (stopping.is_set() or task.done()):
            now_ms = time.time_ns() // 1_000_000
            await log.append(told["node"], [Reading(number, now_ms, number + scan / 1000) for number in numbers])
            scan += 1
            await asyncio.sleep(told["live_period_s"])
        sender.stop()
        await task
        print(json.dumps({"packs": session.packs, "packed_bytes": session.packed_bytes}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
