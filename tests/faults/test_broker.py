"""Row 44, and rows 47 to 50: the broker is killed, overflows, keeps a stale STATE, takes rights away."""

import asyncio
import random
import re
import resource
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lms_firmware_sim.stand.broker import Broker
from lms_firmware_sim.stand.broker_access import Account
from lms_protocol.host import HostSession
from lms_protocol.messages import Publish
from support.broker_clients import someone
from support.chain import Chain
from support.fleet import make_fleet
from support.proving import RECOVERS_WITHIN_S, Proof
from support.reconciling import acked, head

CROWD = Path(__file__).parent / "children" / "crowd.py"
AGENTS = 1_000
PROCESSES = 4
FILES = 8_192
DROPPED = "$SYS/broker/publish/messages/dropped"


@pytest.mark.fault(row=47)
async def test_killed_broker_loses_and_doubles_nothing(prove: Any, own_broker: Any, chance: random.Random) -> None:
    broker = own_broker()
    async with prove(on_broker=broker) as proof:
        for _ in range(6):
            await asyncio.sleep(chance.uniform(0.1, 2.0))
            await asyncio.to_thread(broker.running.kill)
            proof.row.injected += 1
            await asyncio.sleep(chance.uniform(0.0, 5.0))
            await asyncio.to_thread(broker.running.start)
            await proof.recovers()
        await proof.holds()


@pytest.mark.fault(row=44)
@pytest.mark.usefixtures("raised_file_limit")
async def test_thousand_agents_that_reconnect_at_once_are_spread_and_lose_nothing(
    prove: Any, own_broker: Any, migrated_database: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    broker = own_broker()
    folder = tmp_path_factory.mktemp("crowd")
    group = f"crowd-{secrets.token_hex(4)}"
    nodes = [f"{group}-{number}" for number in range(AGENTS)]
    topics = tuple(f"spBv1.0/{group}/{kind}/#" for kind in ("NBIRTH", "NDATA", "NDEATH", "DBIRTH", "DDATA", "DDEATH"))
    heard = (f"spBv1.0/{group}/NCMD/#", f"spBv1.0/{group}/DCMD/#", "spBv1.0/STATE/+")
    account = broker.running.add(Account("crowd", secrets.token_urlsafe(12), topics, heard))
    async with prove(on_broker=broker) as proof:
        chain = proof.chain
        await make_fleet(migrated_database.url, agents=nodes, bioreactors=nodes, group=group)
        for process in range(PROCESSES):
            told = [folder, group, chain.group, str(broker.port), account.name, account.password]
            chain.start(f"crowd-{process}", [sys.executable, CROWD, *told, *nodes[process::PROCESSES]], {})
        logs = [folder / f"{node}.sqlite3" for node in nodes]
        await _acknowledged(proof, dict.fromkeys(logs, 1), "all agents are acknowledged", 240)
        await asyncio.sleep(10.0)  # connections that have lasted
        known = len(_connections(chain))
        await asyncio.to_thread(broker.running.kill)
        proof.row.injected = AGENTS
        await asyncio.sleep(5.0)
        await asyncio.to_thread(broker.running.start)
        began_s = time.monotonic()
        wanted = {log: head(log) + 1 for log in logs}
        starved_s = await _acknowledged(proof, wanted, "all agents are acknowledged again", RECOVERS_WITHIN_S)
        proof.row.recovered(time.monotonic() - began_s, starved_s)
        made = [at_s - began_s for at_s in _connections(chain)[known:]]
        busiest = Counter(int(at_s) for at_s in made).most_common(1)[0][1]
        proof.row.notes.append(f"{len(made)} connections within {max(made):.1f} s, {busiest} in the busiest second")
        assert len(made) >= AGENTS
        assert busiest < AGENTS / 2, "reconnects are spread"
        for process in range(PROCESSES):
            crowd = chain.processes.pop(f"crowd-{process}")
            crowd.terminate()
            assert await asyncio.to_thread(crowd.wait, 60) == 0, chain.said(f"crowd-{process}")
        await proof.recovers()
        await proof.holds(others=logs)


async def _acknowledged(proof: Proof, wanted: dict[Path, int], what: str, within_s: float) -> float:
    """Wait until each log is acknowledged up to a number; none is looked at again that is. See `Proof.until`."""
    waiting = list(wanted)

    def all_are() -> bool:
        while waiting and waiting[-1].exists() and acked(waiting[-1]) >= wanted[waiting[-1]]:
            waiting.pop()
        return not waiting

    return await proof.until(all_are, what, within_s)


def _connections(chain: Chain) -> list[float]:
    """When each connection of the crowd was made, in order."""
    said = [line for process in range(PROCESSES) for line in chain.said(f"crowd-{process}").splitlines()]
    return sorted(float(line) for line in said if re.fullmatch(r"\d+\.\d+", line))


@pytest.fixture
def raised_file_limit() -> Iterator[None]:
    """As many open files as a broker with a thousand connections needs: the programs that are started inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES:
        pytest.skip(f"needs {FILES} open files; the limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, FILES), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.fault(row=48)
async def test_broker_that_drops_what_finds_no_room_loses_nothing(prove: Any, proxy: Any, own_broker: Any) -> None:
    broker = own_broker(max_queued_messages=20, max_queued_bytes=100_000)
    async with proxy(broker.port) as way, prove(on_broker=broker, ingest_port=way.port) as proof:
        chain = proof.chain
        heard: list[int] = []
        filler = broker.add_agent(chain.group, "filler")
        async with someone(broker, filler.name) as loud, someone(broker, "watcher") as watcher:
            await watcher.subscribe(DROPPED)
            counting = asyncio.create_task(_count(watcher, heard))
            for _ in range(4):
                way.to_client.held = True  # ingest takes nothing more; the broker queues for it
                for _ in range(100):
                    await loud.publish(f"spBv1.0/{chain.group}/DDATA/filler/R9", bytes(200_000))
                before = await _others_dropped(loud, f"spBv1.0/{chain.group}/DDATA/filler/R9", heard)
                await proof.until(lambda before=before: heard[-1] >= before + 20, "the agent's batches are dropped")
                proof.row.injected += heard[-1] - before
                way.to_client.release()
                await proof.recovers()
            counting.cancel()
        await proof.holds()


async def _others_dropped(loud: Any, topic: str, heard: list[int]) -> int:
    """How many messages the broker may have dropped by now that are not the agent's.

    It tells its count only when that has grown, and an agent that nobody answers sends seldom: so more is published.
    """
    told, since = len(heard), 0
    async with asyncio.timeout(RECOVERS_WITHIN_S):
        while len(heard) < told + 2:  # at the second it has counted all that was published before the first
            await loud.publish(topic, bytes(1_000))
            since += 1
            await asyncio.sleep(0.5)
    return heard[-1] + since


async def _count(watcher: Any, heard: list[int]) -> None:
    async for message in watcher.messages:
        heard.append(int(message.payload))  # noqa: PERF401 - looked at while it grows


@pytest.mark.fault(row=49)
async def test_stale_retained_state_silences_nobody_for_long(prove: Any, broker: Any) -> None:
    async with prove() as proof:
        for ahead_s in (3600, 60, -3600):  # by clocks that are ahead, and behind
            await _retain_state(proof, broker, online=False, ahead_s=ahead_s)
            await proof.recovers()
        await proof.holds()


@pytest.mark.fault(row=49)
async def test_state_that_says_online_of_a_host_that_is_dead_loses_nothing(prove: Any, broker: Any) -> None:
    async with prove() as proof:
        chain = proof.chain
        # Never earlier than one before: the host that lives next takes up from what the broker keeps.
        for ahead_s in (-3600, 0, 3600):
            chain.kill("ingest")
            await proof.until(lambda: not proof.status()["broker"]["host_online"], "the agent hears of the death")
            await _retain_state(proof, broker, online=True, ahead_s=ahead_s)
            logged = head(chain.log) + 50
            await proof.until(lambda logged=logged: head(chain.log) > logged, "batches that nobody takes")
            chain.again("ingest")
            await proof.recovers()
        await proof.holds()


async def _retain_state(proof: Proof, broker: Any, *, online: bool, ahead_s: float) -> None:
    """Have the broker keep a STATE that is not the host's, of a clock that is so much ahead."""
    at_ms = time.time_ns() // 1_000_000 + int(1000 * ahead_s)
    stale: Publish = HostSession(proof.chain.group).state(online=online, timestamp_ms=at_ms)
    async with someone(broker, "cloud-ingest") as other:
        await other.publish(stale.topic, stale.payload, qos=1, retain=True)
    proof.row.injected += 1


@pytest.mark.fault(row=50)
async def test_rights_taken_away_hold_readings_back_until_they_are_given_again(prove: Any, own_broker: Any) -> None:
    broker = own_broker()
    async with prove(on_broker=broker) as proof:
        chain = proof.chain
        rights = [  # batches one by one, and those of the backlog in packs
            {
                "rolename": f"{chain.node}-role",
                "acltype": "publishClientSend",
                "topic": f"spBv1.0/{chain.group}/{topic}",
            }
            for topic in (f"DDATA/{chain.node}/+", f"NDATA/{chain.node}")
        ]
        client = {"username": chain.node}
        changes: list[tuple[list[dict[str, Any]], list[dict[str, Any]]]] = [
            (
                [{"command": "removeRoleACL", **right} for right in rights],
                [{"command": "addRoleACL", **right, "priority": 0, "allow": True} for right in rights],
            ),
            ([{"command": "disableClient", **client}], [{"command": "enableClient", **client}]),
        ]
        for revoke, restore in changes:
            await _command(broker.running, *revoke)
            proof.row.injected += 1
            await asyncio.sleep(3.0)  # acknowledgements on their way arrive
            known, logged = acked(chain.log), head(chain.log)
            await proof.until(lambda logged=logged: head(chain.log) > logged + 100, "batches that are not sent")
            assert acked(chain.log) <= known + 10, "nothing got through"
            await _command(broker.running, *restore)
            await proof.recovers()
        assert "refuses account" in chain.said("agent")
        await proof.holds()


async def _command(broker: Broker, *commands: dict[str, Any]) -> None:
    answer = await asyncio.to_thread(broker._control, {"commands": list(commands)})
    assert not any("error" in response for response in answer["responses"]), answer
