"""Catching up with a backlog: real sending, broker, ingest and database on the same cores, and what it does to live.

Live readings of an agent that has nothing to catch up are watched before, during and after, and those of the one that
catches up during it, each from the log to the live topic. On a machine shared with others the spread over fifths of the
time says what a ratio is worth.

LMS_BENCH_BACKLOG_H sets how many hours of 50 tags at 1 Hz wait in the log (24 if it is not set).
"""

import asyncio
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

import aiomqtt
import psutil
import psycopg
import pytest
from lms_agent.log.jobs import Entry
from lms_agent.log.sqlite_log import SqliteLog
from lms_firmware_sim.stand.programs import plain_environment, program
from lms_firmware_sim.stand.spawning import spawn, stop
from lms_protocol.messages import SYNC_TAGS
from lms_protocol.reading import Reading, TagDescription
from psycopg.types.multirange import Multirange
from psycopg.types.range import Range
from support.cores import Cores
from support.figures import show
from support.fleet import make_fleet

pytestmark = pytest.mark.bench
TAGS = 50
HOURS = float(os.environ.get("LMS_BENCH_BACKLOG_H", "24"))
LIVE_PERIOD_S = 0.1
ALONE_S, REST_S = 20.0, 3.0
COMMITTED = """
select coalesce(sum(upper(run) - lower(run)), 0)
from streams, unnest(committed * %(wanted)s) as run where id = %(stream)s
"""
CHILD = Path(__file__).parent / "children" / "sending_agent.py"


def backlog(device: str, numbers: list[int], scans: int):
    """Scans of signals that wander and are noisy, in the steps of 32-bit floats rounded to a thousandth."""
    chance = random.Random(1)
    noise = [round(chance.gauss(0, 0.02), 3) for _ in range(9973)]
    begin_ms = time.time_ns() // 1_000_000 - 1000 * scans - 60_000
    for scan in range(scans):
        at_ms = begin_ms + 1000 * scan
        base = 5 * math.sin(scan / 3000)
        yield Entry(
            device,
            tuple(
                Reading(number, at_ms + row // 10, round(row + base, 2) + noise[(scan * 61 + row * 37) % 9973])
                for row, number in enumerate(numbers)
            ),
        )


@dataclass
class Watched:
    """Latencies of live readings by device, each with the time at which it was seen, in s."""

    seen: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))

    async def follow(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            if message.topic.matches("lms/live/#"):
                told = json.loads(message.payload)
                if "readings" in told:
                    now_s = time.time()
                    device = message.topic.value.rpartition("/")[2]
                    self.seen[device].append((now_s, now_s - max(each[1] for each in told["readings"]) / 1000))

    def p99_ms(self, device: str, *spans: tuple[float, float]) -> float:
        found = sorted(
            late_s for at_s, late_s in self.seen[device] if any(first <= at_s < last for first, last in spans)
        )
        return 1000 * found[int(0.99 * len(found))] if found else math.nan

    def fifths_ms(self, device: str, first_s: float, last_s: float) -> str:
        """The p99 of each fifth of a time."""
        fifth_s = (last_s - first_s) / 5
        begins_s = [first_s + part * fifth_s for part in range(5)]
        return ", ".join(f"{self.p99_ms(device, (at_s, at_s + fifth_s)):,.0f}" for at_s in begins_s)


async def weigh(processes: dict[str, psutil.Process], sizes: dict[str, list[tuple[float, float]]]) -> None:
    """Note the memory of processes, in MB with the time, four times a second."""
    while True:
        for name, process in processes.items():
            sizes[name].append((time.time(), process.memory_info().rss / 1e6))
        await asyncio.sleep(0.25)


async def test_catching_up_with_a_day_and_what_it_costs_live_readings(
    tmp_path: Path, migrated_database, broker, postgres
) -> None:
    group, host = f"org-{uuid4().hex[:12]}", f"host-{uuid4().hex[:12]}"
    node, idle = f"{group}-late", f"{group}-prompt"
    await make_fleet(migrated_database.url, agents=[node, idle], bioreactors=[node, idle], group=group)
    scans = round(HOURS * 3600)
    streams: dict[str, UUID] = {}
    numbers: list[int] = []
    for name in (node, idle):
        broker.add_agent(group, name)
        with SqliteLog.open(tmp_path / f"{name}.sqlite3") as log:
            wanted = [TagDescription(0, name, f"T{n}/PV") for n in range(1, TAGS + 1)]
            wanted += [TagDescription(0, name, sync, kind) for sync, kind in SYNC_TAGS.items()]
            numbers = [tag.number for tag in log.register_tags(wanted)[:TAGS]]
            streams[name] = log.stream
    environment = {
        **plain_environment(),
        "LMS_DATABASE_URL": migrated_database.ingest_url,
        "LMS_MQTT_URL": broker.url("cloud-ingest"),
        "LMS_HOST_ID": host,
    }
    ingest = spawn([*program("lms-cloud"), "ingest"], log_path=tmp_path / "ingest.log", env=environment, cwd=tmp_path)
    agents: dict[str, subprocess.Popen] = {}
    said: dict[str, dict[str, int]] = {}

    def start(name: str) -> subprocess.Popen:
        told = {
            "log": str(tmp_path / f"{name}.sqlite3"),
            "group": group,
            "node": name,
            "host_id": host,
            "broker_host": broker.host,
            "broker_port": broker.port,
            "password": broker.accounts[name].password,
            "live_period_s": LIVE_PERIOD_S,
        }
        agents[name] = subprocess.Popen([sys.executable, str(CHILD), json.dumps(told)], stdout=subprocess.PIPE)
        return agents[name]

    watched = Watched()
    sizes: dict[str, list[tuple[float, float]]] = defaultdict(list)
    try:
        account = broker.accounts["feed"]
        async with (
            aiomqtt.Client(broker.host, broker.port, username=account.name, password=account.password) as client,
            await psycopg.AsyncConnection.connect(migrated_database.superuser_url, autocommit=True) as connection,
        ):

            async def committed(first: int, last: int) -> int:
                wanted = {"stream": streams[node], "wanted": Multirange([Range(first, last + 1)])}
                ((count,),) = await (await connection.execute(COMMITTED, wanted)).fetchall()
                return int(count)

            async def until_live(name: str, readings: int) -> None:
                async with asyncio.timeout(120):
                    while len(watched.seen[name]) < readings:
                        await asyncio.sleep(0.05)

            async def end(name: str) -> None:
                agents[name].send_signal(signal.SIGTERM)
                said[name] = json.loads((await asyncio.to_thread(agents[name].communicate, None, 30))[0])

            await client.subscribe(f"spBv1.0/STATE/{host}", 1)
            await asyncio.wait_for(anext(aiter(client.messages)), 30)
            await client.subscribe(f"lms/live/{group}/+")
            following = asyncio.create_task(watched.follow(client))
            # Both are known to the cloud before one of them is away for a day.
            start(idle)
            start(node)
            await until_live(node, 20)
            await end(node)
            with SqliteLog.open(tmp_path / f"{node}.sqlite3") as log:
                first, last = await asyncio.to_thread(log.append_all, backlog(node, numbers, scans))
            await until_live(idle, 20)
            alone = [(time.time(), time.time() + ALONE_S)]
            await asyncio.sleep(ALONE_S)
            agent = start(node)
            processes = {"ingest": psutil.Process(ingest.pid), "agent": psutil.Process(agent.pid)}
            weighing = asyncio.create_task(weigh(processes, sizes))
            cores = Cores(ingest=ingest.pid, agent=agent.pid, database=postgres.server.pid, broker=broker.running.pid)
            began_s = time.time()
            first_s = None
            async with asyncio.timeout(3600):
                while (count := await committed(first, last)) < scans:
                    if count and first_s is None:
                        first_s, first_count = time.time(), count
                    await asyncio.sleep(0.2)
            ended_s = time.time()
            taken_s = cores.taken_s()
            weighing.cancel()
            await asyncio.sleep(REST_S)
            alone.append((time.time(), time.time() + ALONE_S))
            await asyncio.sleep(ALONE_S)
            following.cancel()
            await end(node)
            await end(idle)
    finally:
        for process in agents.values():
            process.kill()
            process.wait()
        stop(ingest, ())
    readings = TAGS * scans
    steady = TAGS * (scans - first_count) / max(0.001, ended_s - first_s)
    show(
        f"catch-up: readings/s of {HOURS:g} h, 50 tags at 1 Hz ({readings:,})",
        f"{readings / (ended_s - began_s):,.0f}",
        beside=f"the figure to reach: 100,000; {steady:,.0f} once it runs",
        ratio=readings / (ended_s - began_s) / 100_000,
    )
    each_us = ", ".join(f"{name} {seconds / readings * 1e6:.2f}" for name, seconds in taken_s.items())
    print(f"    µs of a core for each reading: {each_us}")
    by_itself = watched.p99_ms(idle, *alone)
    before, after = (watched.p99_ms(idle, span) for span in alone)
    for whose, device in (("another agent", idle), ("the same agent", node)):
        busy = watched.p99_ms(device, (began_s, ended_s))
        show(
            f"  live p99 of {whose} meanwhile, logged to shown, ms",
            f"{busy:,.0f}",
            beside=f"alone: {by_itself:,.0f} ({before:,.0f} before, {after:,.0f} after)",
            ratio=busy / by_itself,
        )
        print(f"    by fifths of the time: {watched.fifths_ms(device, began_s, ended_s)}")
    show(
        "  bytes a reading on the wire, made-up noisy signals",
        f"{said[node]['packed_bytes'] / readings:,.1f}",
        beside="the limit: 12",
        ratio=said[node]["packed_bytes"] / readings / 12,
    )
    for name, noted in sizes.items():
        early_s = began_s + min(60.0, (ended_s - began_s) / 10)
        early = max(size for at_s, size in noted if at_s <= early_s)
        largest = max(size for _, size in noted)
        show(
            f"  memory of {name} at most, MB",
            f"{largest:,.0f}",
            beside=f"after {early_s - began_s:.0f} s: {early:,.0f}",
            ratio=largest / early,
        )
