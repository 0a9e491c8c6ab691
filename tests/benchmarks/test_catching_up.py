"""Catching up with a backlog: real sending, broker, ingest and database on the same cores, and what it does to live.

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
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import aiomqtt
import psutil
import psycopg
import pytest
from lms_agent.log.sqlite_log import SqliteLog
from lms_agent.log.writer import Entry
from lms_firmware_sim.stand.programs import plain_environment, program
from lms_firmware_sim.stand.spawning import spawn, stop
from lms_protocol.messages import SYNC_TAGS
from lms_protocol.reading import Reading, TagDescription
from support.figures import show
from support.fleet import make_fleet

pytestmark = pytest.mark.bench
TAGS = 50
HOURS = float(os.environ.get("LMS_BENCH_BACKLOG_H", "24"))
LIVE_PERIOD_S = 0.1
ALONE_S = 20.0
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
    """Latencies of live readings in s, and memory in MiB by process."""

    latencies_s: list[float] = field(default_factory=list)
    memory: dict[str, list[float]] = field(default_factory=dict)

    def p99_ms(self, since: int = 0) -> float:
        found = sorted(self.latencies_s[since:])
        return 1000 * found[min(len(found) - 1, int(0.99 * len(found)))]

    def take(self, payload: bytes) -> None:
        message = json.loads(payload)
        if "readings" in message:
            self.latencies_s.append(time.time() - max(each[1] for each in message["readings"]) / 1000)

    async def weigh(self, processes: dict[str, psutil.Process]) -> None:
        while True:
            for name, process in processes.items():
                self.memory.setdefault(name, []).append(process.memory_info().rss / 1e6)
            await asyncio.sleep(0.25)


async def test_catching_up_with_a_day_and_what_it_costs_live_readings(
    tmp_path: Path, migrated_database, broker
) -> None:
    group, host = f"org-{uuid4().hex[:12]}", f"host-{uuid4().hex[:12]}"
    node, idle = f"{group}-late", f"{group}-prompt"
    await make_fleet(migrated_database.url, agents=[node, idle], bioreactors=[node, idle], group=group)
    scans = round(HOURS * 3600)
    for name, count in ((node, scans), (idle, 0)):
        broker.add_agent(group, name)
        with SqliteLog.open(tmp_path / f"{name}.sqlite3") as log:
            wanted = [TagDescription(0, name, f"T{n}/PV") for n in range(1, TAGS + 1)]
            wanted += [TagDescription(0, name, sync, kind) for sync, kind in SYNC_TAGS.items()]
            numbers = [tag.number for tag in log.register_tags(wanted)[:TAGS]]
            await asyncio.to_thread(log.append_all, backlog(name, numbers, count))
    environment = {
        **plain_environment(),
        "LMS_DATABASE_URL": migrated_database.ingest_url,
        "LMS_MQTT_URL": broker.url("cloud-ingest"),
        "LMS_HOST_ID": host,
    }
    ingest = spawn([*program("lms-cloud"), "ingest"], log_path=tmp_path / "ingest.log", env=environment, cwd=tmp_path)
    agents = {}

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

    async def follow(client: aiomqtt.Client) -> None:
        async for message in client.messages:
            if message.topic.matches("lms/live/#"):
                watched.take(message.payload)

    try:
        account = broker.accounts["feed"]
        async with (
            aiomqtt.Client(broker.host, broker.port, username=account.name, password=account.password) as client,
            await psycopg.AsyncConnection.connect(migrated_database.superuser_url, autocommit=True) as connection,
        ):
            await client.subscribe(f"spBv1.0/STATE/{host}", 1)
            await asyncio.wait_for(anext(aiter(client.messages)), 30)
            await client.subscribe(f"lms/live/{group}/{idle}")
            following = asyncio.create_task(follow(client))
            start(idle)
            async with asyncio.timeout(60):
                while len(watched.latencies_s) < 20:  # births, partitions, first commits
                    await asyncio.sleep(0.05)
            watched.latencies_s.clear()
            await asyncio.sleep(ALONE_S)
            alone, since = watched.p99_ms(), len(watched.latencies_s)
            agent = start(node)
            processes = {"ingest": psutil.Process(ingest.pid), "agent": psutil.Process(agent.pid)}
            weighing = asyncio.create_task(watched.weigh(processes))
            counted = "select count(*) from ledger where number <= %s and bioreactor_id = (select id from entities"
            counted += " where properties ->> 'wire_id' = %s and entity_type = 'bioreactor')"
            began_s = time.perf_counter()
            first_s = None
            async with asyncio.timeout(1800):
                while True:
                    ((count,),) = await (await connection.execute(counted, (scans, node))).fetchall()
                    if count and first_s is None:
                        first_s, first_count = time.perf_counter(), count
                    if count >= scans:
                        break
                    await asyncio.sleep(0.2)
            took_s = time.perf_counter() - began_s
            steady = TAGS * (scans - first_count) / max(0.001, time.perf_counter() - first_s)
            busy = watched.p99_ms(since)
            weighing.cancel()
            following.cancel()
        said = {}
        for name, process in agents.items():
            process.send_signal(signal.SIGTERM)
            said[name] = json.loads((await asyncio.to_thread(process.communicate, None, 30))[0])
    finally:
        for process in agents.values():
            process.kill()
            process.wait()
        stop(ingest, ())
    readings = TAGS * scans
    show(
        f"catch-up: readings/s of {HOURS:g} h, 50 tags at 1 Hz ({readings:,})",
        f"{readings / took_s:,.0f}",
        beside=f"the figure to reach: 100,000; {steady:,.0f} once it runs",
        ratio=readings / took_s / 100_000,
    )
    show(
        "  live p99 while another agent catches up, logged to shown, ms",
        f"{busy:,.0f}",
        beside=f"alone: {alone:,.0f} (p50 {1000 * sorted(watched.latencies_s[:since])[since // 2]:,.0f})",
        ratio=busy / alone,
    )
    show(
        "  bytes a reading on the wire, made-up noisy signals",
        f"{said[node]['packed_bytes'] / readings:,.1f}",
        beside="the limit: 12",
        ratio=said[node]["packed_bytes"] / readings / 12,
    )
    for name, sizes in watched.memory.items():
        early = max(sizes[: max(1, len(sizes) // 10)])
        show(
            f"  memory of {name} at most, MB",
            f"{max(sizes):,.0f}",
            beside=f"after a tenth: {early:,.0f}",
            ratio=max(sizes) / early,
        )
