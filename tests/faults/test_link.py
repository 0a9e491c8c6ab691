"""Rows 38 to 46: what a network does to the agent's connection to the broker."""

import asyncio
import random
import shutil
import subprocess
import time
from typing import Any

import pytest
from lms_protocol.host import HostSession
from lms_protocol.messages import ACKED_NAME
from lms_protocol.ranges import NumberRanges
from support.broker_clients import someone
from support.reconciling import acked, head

KEEPALIVE_S = 15.0


@pytest.mark.fault(row=38)
@pytest.mark.quick
async def test_connection_reset_in_mid_publish_loses_and_doubles_nothing(
    prove: Any, proxy: Any, full: bool, chance: random.Random
) -> None:
    async with proxy(mqtt=False) as way, prove(agent_port=way.port) as proof:
        for number in range(16 if full else 2):
            connections = way.connections
            direction = way.to_client if number % 4 == 1 else way.to_server
            direction.cut_after = chance.randrange(1, 2_000)  # of the new connection, or of the one that has lasted
            await proof.until(lambda direction=direction: direction.cut_after is None, "the connection is cut")
            await proof.until(lambda known=connections: way.connections > known, "a new connection")
            proof.row.injected += 1
        await proof.recovers()
        await proof.holds()


@pytest.mark.fault(row=39)
async def test_link_that_swallows_everything_is_noticed_and_given_up(prove: Any, proxy: Any) -> None:
    async with proxy() as way, prove(agent_port=way.port) as proof:
        before = head(proof.chain.log)
        way.to_server.held = way.to_client.held = True
        proof.row.injected += 1
        await proof.until(lambda: way.connections > 1, "another connection is tried", 4 * KEEPALIVE_S)
        await asyncio.sleep(10.0)
        assert head(proof.chain.log) > before + 50, "the agent goes on reading"
        way.reset()
        way.to_server.release()
        way.to_client.release()
        await proof.recovers()
        await proof.holds()


@pytest.mark.fault(row=40)
async def test_half_open_connection_is_noticed_by_keepalive(prove: Any, proxy: Any) -> None:
    async with proxy() as way, prove(agent_port=way.port) as proof:
        assert way.forget_server_ends() == 1
        proof.row.injected += 1
        await proof.recovers()  # in time, although nobody ends the fault
        assert way.connections > 1
        await proof.holds()


@pytest.mark.fault(row=41)
async def test_link_that_passes_single_bytes_loses_nothing(prove: Any, proxy: Any) -> None:
    async with proxy(mqtt=False) as way, prove(agent_port=way.port, period_s=0.2) as proof:
        way.to_server.slice_bytes = way.to_client.slice_bytes = 1
        way.reset()
        begun, known = way.to_server.passed, acked(proof.chain.log)
        await proof.until(lambda: acked(proof.chain.log) > known + 100, "batches acknowledged, byte by byte")
        proof.row.injected = way.to_server.passed - begun
        assert proof.row.injected > 10_000, "bytes passed one by one"
        await proof.recovers()  # while it lasts
        await proof.holds()


@pytest.mark.fault(row=45)
async def test_lost_acknowledgements_are_made_up_for(prove: Any, proxy: Any, chance: random.Random) -> None:
    async with proxy() as way, prove(agent_port=way.port) as proof:

        def lose(packet: bytes) -> list[bytes]:
            if ACKED_NAME.encode() in packet and chance.random() < 0.9:
                proof.row.injected += 1
                return []
            return [packet]

        way.to_client.packets = lose
        await proof.until(lambda: proof.row.injected >= 100, "acknowledgements lost", 300)
        way.to_client.packets = None
        await proof.recovers()
        await proof.holds()


@pytest.mark.fault(row=46)
async def test_acknowledgements_doubled_reordered_and_from_the_future_change_nothing(
    prove: Any, proxy: Any, broker: Any, chance: random.Random
) -> None:
    async with proxy() as way, prove(agent_port=way.port) as proof:
        kept: list[bytes] = []

        def shuffle(packet: bytes) -> list[bytes]:
            if ACKED_NAME.encode() not in packet:
                return [packet]
            kept.append(packet)
            del kept[:-20]
            proof.row.injected += 1
            return [chance.choice(kept) for _ in range(2)]

        way.to_client.packets = shuffle
        await proof.until(lambda: proof.row.injected >= 100, "acknowledgements exchanged", 300)
        way.to_client.packets = None
        chain = proof.chain
        beyond = head(chain.log) + 1_000_000
        async with someone(broker, "cloud-ingest") as forger:
            forged = HostSession(chain.group).acknowledgement(
                chain.group, chain.node, beyond, NumberRanges(), time.time_ns() // 1_000_000
            )
            await forger.publish(*forged)
        await proof.until(lambda: "is not believed" in chain.said("agent"), "the future is refused")
        assert acked(chain.log) <= head(chain.log) < beyond
        await proof.recovers()
        await proof.holds()


@pytest.mark.fault(row=42)
async def test_backlog_of_seven_days_on_two_kilobytes_a_second_does_not_starve_what_is_live(
    prove: Any, proxy: Any
) -> None:
    days, tag = 7, "T1/PV"
    async with proxy() as way, prove(agent_port=way.port, tags=1, period_s=1.0) as proof:
        chain = proof.chain
        process = chain.processes["agent"]
        process.terminate()
        await asyncio.to_thread(process.wait, 30)
        end_s = int(proof.query("select extract(epoch from min(taken_at)) from readings")[0][0])
        times = range(end_s - days * 86_400, end_s)
        history = chain.folder / "history.csv"
        with history.open("w") as file:
            file.write("taken_at,tag,value\n")
            for at_s in times:
                at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_s))
                file.write(f"{at},{tag},{proof.truth.chosen(0)!r}\n")
        importing = [*chain.commands["agent"][0][:2], "log", "import", "--device", "R1", history]
        importing += ["--config", chain.folder / "agent.toml"]
        done = await asyncio.to_thread(subprocess.run, importing, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        way.to_server.bytes_per_s = way.to_client.bytes_per_s = 2_000.0
        chain.again("agent")
        proof.row.injected += 1
        await asyncio.sleep(60.0)
        late = await asyncio.to_thread(
            proof.query,
            "select extract(epoch from committed_at - first_taken_at)::float from ledger"
            " where first_taken_at > now() - interval '40 seconds' and readings = 1 order by 1",
        )
        assert late, "nothing live came through"
        median_s = late[len(late) // 2][0]
        waiting = proof.status()["broker"]["unacknowledged"]
        proof.row.notes.append(
            f"live readings were committed after {median_s:.1f} s (median), {waiting} batches waited"
        )
        assert median_s < 30.0
        way.to_server.bytes_per_s = way.to_client.bytes_per_s = None
        wanted = head(chain.log)
        began_s = time.monotonic()
        await proof.until(lambda: acked(chain.log) >= wanted, "the backlog is in")
        proof.row.notes.append(f"the backlog was in {time.monotonic() - began_s:.0f} s after the link was well")
        await proof.recovers()
        await proof.holds()


@pytest.mark.fault(row=43)
async def test_second_client_with_the_same_id_is_noticed_and_costs_nothing(prove: Any) -> None:
    async with prove() as proof:
        chain = proof.chain
        twin = chain.folder / "twin"
        twin.mkdir()
        text = (chain.folder / "agent.toml").read_text().replace(str(chain.log), str(twin / "log.sqlite3"))
        (twin / "agent.toml").write_text(text)
        shutil.copy(chain.folder / "agent.password", twin / "agent.password")
        argv, environment = chain.commands["agent"]
        chain.start("twin", [*argv[:-1], twin / "agent.toml"], environment)
        proof.row.injected += 1

        def noticed() -> bool:
            return any("another program" in chain.said(name) for name in ("agent", "twin"))

        await proof.until(noticed, "an agent says that another has its id")
        await asyncio.sleep(20.0)
        twins = chain.processes.pop("twin")
        twins.terminate()
        await asyncio.to_thread(twins.wait, 30)
        await proof.recovers()
        await proof.holds(others=[twin / "log.sqlite3"])
