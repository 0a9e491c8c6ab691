"""Rows 18 to 23: the agent is killed, stopped, starved of memory, given a broken configuration, upgraded."""

import asyncio
import json
import random
import re
import signal
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from lms_agent.log.reader import LogReader
from lms_protocol.reading import Batch, Reading
from support.first_release import first_release_log
from support.injecting import injected, memory_group
from support.proving import RECOVERS_WITHIN_S, Proof
from support.reconciling import acked, head

CHILDREN = Path(__file__).parent / "children"
KILLED_AGENTS = CHILDREN / "killed_agents.py"
EARLIER_AGENT = CHILDREN / "earlier_agent.py"
EATER = CHILDREN / "eater.py"
UNIT = Path(__file__).resolve().parents[2] / "systemd" / "lms-agent.service"
MEMORY_MAX = int(re.findall(r"^MemoryMax=(\d+)M$", UNIT.read_text(), re.MULTILINE)[0]) << 20


@pytest.mark.fault(row=18)
@pytest.mark.quick
@pytest.mark.timeout(1800)
async def test_agent_killed_at_random_moments_loses_nothing_that_it_had_logged(
    prove: Any, full: bool, chance: random.Random
) -> None:
    async with prove(period_s=0.05, tags=4) as proof:
        chain = proof.chain
        chain.kill("agent")
        kills = 1000 if full else 12
        config = chain.folder / "agent.toml"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, KILLED_AGENTS, config, str(kills), str(chance.randrange(1 << 32)), "0.6"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=chain.folder,
        )
        out, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()[-4000:]
        result = json.loads(out)
        proof.row.injected = result["killed"]
        proof.row.lost, proof.row.wrong = result["lost"], result["wrong"]
        assert (result["lost"], result["wrong"]) == (0, 0), "readings that the log had before a kill"
        assert result["kept"] > kills, "so many were looked for after the kill"
        chain.again("agent")
        await proof.recovers()
        await proof.holds(least=kills)


@pytest.mark.fault(row=18)
async def test_agent_killed_while_it_starts_cold_loses_nothing(prove: Any, chance: random.Random) -> None:
    async with prove() as proof:
        for _ in range(20):
            proof.chain.kill("agent")
            proof.chain.again("agent")
            await asyncio.sleep(chance.uniform(0.2, 3.0))
            proof.row.injected += 1
        await proof.recovers()
        await proof.holds()


@pytest.mark.fault(row=19)
async def test_agent_killed_between_send_and_acknowledgement_doubles_nothing(prove: Any, proxy: Any) -> None:
    async with proxy() as way, prove(agent_port=way.port) as proof:
        chain = proof.chain
        for _ in range(10):
            way.to_client.held = True  # acknowledgements leave the broker and do not arrive
            known = acked(chain.log)

            def committed(known: int = known) -> bool:
                return proof.query("select count(*) from ledger")[0][0] > known + 10

            await proof.until(committed, "batches committed whose acknowledgement is held")
            chain.kill("agent")
            proof.row.injected += 1
            way.reset()
            way.to_client.release()
            chain.again("agent")
            await proof.recovers()
        await proof.holds()


@pytest.mark.fault(row=20)
async def test_stopped_agent_gives_no_sign_of_life_and_records_the_gap(prove: Any, signs_of_life: Any) -> None:
    async with prove() as proof, signs_of_life(proof.chain) as signs:
        chain = proof.chain
        await proof.until(lambda: signs.watchdog > 2, "signs of life")
        for stopped_s, ends in ((12.0, "goes on"), (25.0, "is killed")):
            chain.processes["agent"].send_signal(signal.SIGSTOP)
            await asyncio.sleep(1.0)  # what it had said by then has arrived
            before, logged = signs.watchdog, head(chain.log)
            await asyncio.sleep(stopped_s)
            assert signs.watchdog == before, "systemd would have heard a process that does nothing"
            assert head(chain.log) == logged
            if ends == "goes on":
                chain.processes["agent"].send_signal(signal.SIGCONT)
            else:  # systemd has heard nothing for too long
                chain.kill("agent")
                chain.again("agent")
            proof.row.injected += 1
            await proof.recovers()
            await proof.until(lambda before=before: signs.watchdog > before, "signs of life again")
        await proof.holds()


@pytest.mark.fault(row=20)
async def test_agent_held_up_for_moments_before_slow_replies_is_silent_nowhere_untold(
    prove: Any, chance: random.Random
) -> None:
    """As on a loaded computer: scans begin late and are answered late, and few are missed for it."""
    async with prove() as proof:
        chain = proof.chain
        prompt = chain.registers.before_read
        assert prompt is not None

        def slow() -> None:
            time.sleep(chance.choice((0.0, 0.0, chance.uniform(0.03, 0.09))))
            prompt()

        chain.registers.before_read = slow
        for _ in range(60):
            agent = chain.processes["agent"]
            agent.send_signal(signal.SIGSTOP)
            await asyncio.sleep(chance.uniform(0.1, 0.22))
            agent.send_signal(signal.SIGCONT)
            proof.row.injected += 1
            await asyncio.sleep(chance.uniform(0.1, 0.3))
        chain.registers.before_read = prompt
        await proof.recovers()
        await proof.holds()


@pytest.mark.fault(row=21)
async def test_agent_in_its_memory_limit_survives_a_failing_disk(prove: Any) -> None:
    """The unit's MemoryMax; readings wait in memory, as many as may."""
    tags = 100
    async with memory_group(MEMORY_MAX) as group, prove(tags=tags) as proof:
        chain = proof.chain
        chain.kill("agent")
        argv, environment = chain.commands["agent"]
        chain.start("agent", group.inside(argv), environment)
        await proof.recovers()
        async with injected(chain.processes["agent"].pid, "fdatasync:error=EIO", "fsync:error=EIO"):
            proof.row.injected += 1
            await proof.until(lambda: proof.status()["log"]["waiting"] > 47_500, "readings waiting", 200)
        await proof.until(lambda: proof.status()["log"]["waiting"] == 0, "nothing waits any more")
        await proof.recovers()
        await proof.holds(least=45_000)
        proof.row.notes.append(f"at most {group.most_mib:.0f} MiB, with 47,500 readings waiting")


@pytest.mark.fault(row=21)
async def test_agent_killed_for_want_of_memory_loses_nothing(prove: Any, chance: random.Random) -> None:
    """In turns: the unit's limit, of which a neighbour takes all while the agent runs; one too small to start in."""
    async with prove() as proof:
        chain = proof.chain
        argv, environment = chain.commands["agent"]
        for number in range(10):
            size = chance.randrange(8 << 20, 16 << 20) if number % 2 else MEMORY_MAX
            async with memory_group(size) as group:
                chain.kill("agent")
                chain.start("agent", group.inside(argv), environment)
                agent = chain.processes["agent"]
                if size == MEMORY_MAX:
                    await proof.recovers()
                    chain.start("eater", group.inside([sys.executable, EATER, str(agent.pid)]), {})
                ended = await asyncio.to_thread(agent.wait, RECOVERS_WITHIN_S)
                assert ended == -signal.SIGKILL, f"the kernel kills it: {size} bytes"
                proof.row.injected += 1
                if size == MEMORY_MAX:
                    chain.processes.pop("eater").wait()
        chain.start("agent", argv, environment)
        await proof.recovers()
        await proof.holds()


@pytest.mark.fault(row=22)
async def test_broken_configuration_on_reload_leaves_the_last_good_one_running(prove: Any) -> None:
    async with prove() as proof:
        chain = proof.chain
        config = chain.folder / "agent.toml"
        good = config.read_text()
        broken = ("", good[: len(good) // 2], good.replace("float32", "float23"), good.replace("[agent]", "[agnet]"))
        for text in broken * 5:
            said = chain.said("agent").count("are not taken over")
            config.write_text(text)
            chain.processes["agent"].send_signal(signal.SIGHUP)
            proof.row.injected += 1
            await proof.until(lambda said=said: chain.said("agent").count("are not taken over") > said, "it says so")
        assert proof.lost_scans() == []
        await proof.recovers()
        await proof.holds()


@pytest.mark.fault(row=22)
async def test_good_configuration_on_reload_is_taken_over_without_losing_a_scan(prove: Any) -> None:
    async with prove() as proof:
        chain = proof.chain
        config = chain.folder / "agent.toml"
        for number in range(10):
            address = 2 * (10 + number)
            chain.registers.put(address, 50.0 + number, "float32")
            with config.open("a") as file:
                file.write(f'[[instrument.point]]\ntag = "N{number}/PV"\naddress = {address}\nkind = "float32"\n')
            chain.processes["agent"].send_signal(signal.SIGHUP)
            proof.row.injected += 1
            name = f"N{number}/PV"
            await proof.until(
                lambda name=name: proof.query(
                    "select 1 from entities t join latest l on true join series s on"
                    " s.id = l.series_id and s.tag_id = t.id where t.name = %s",
                    name,
                ),
                f"readings of {name}",
            )
            await proof.recovers()
        assert proof.lost_scans() == []
        await proof.holds()


@pytest.mark.fault(row=23)
async def test_log_of_the_first_release_is_brought_up_to_date_and_its_backlog_delivered_once(prove: Any) -> None:
    async with prove(tags=2) as proof:
        chain = proof.chain
        copies = []
        for number in range(3):
            await _stop(proof)
            copies.append(chain.folder / f"before-{number}.sqlite3")
            chain.log.rename(copies[-1])
            for file in chain.log.parent.glob("log.sqlite3*"):
                file.unlink()
            count = 20_000
            began_ms = time.time_ns() // 1_000_000 - 100 * count
            batches = [
                Batch(n, "R1", tuple(Reading(tag, began_ms + 100 * n, proof.truth.chosen(tag - 1)) for tag in (1, 2)))
                for n in range(1, count + 1)
            ]
            stream = first_release_log(chain.log, batches, acked=0, names=("T1/PV", "T2/PV"))
            chain.again("agent")
            proof.row.injected += 1
            await proof.recovers()
            with LogReader.open(chain.log) as reader:
                assert reader.stream == stream
                assert reader.read(1, count) == batches
            assert "ALARM" not in chain.said("agent")
        await proof.holds(others=copies)


@pytest.mark.fault(row=23)
async def test_roll_back_refuses_the_newer_log_unharmed_and_going_forward_again_delivers_the_rest(prove: Any) -> None:
    async with prove() as proof:
        chain = proof.chain
        argv, environment = chain.commands["agent"]
        for known in ("0001_batches", "0002_limits_and_predecessors") * 3:
            chain.kill("ingest")
            logged = head(chain.log) + 30
            await proof.until(lambda logged=logged: head(chain.log) > logged, "a backlog")
            await _stop(proof)
            before = _content(chain.log)
            for _ in range(3):  # systemd tries again and again
                said = chain.said("agent")
                chain.start("agent", [sys.executable, EARLIER_AGENT, known, *argv[2:]], environment)
                assert await asyncio.to_thread(chain.processes["agent"].wait, 60) != 0
                assert "newer version of the agent" in chain.said("agent")[len(said) :]
            assert _content(chain.log) == before, "it was left alone"
            proof.row.injected += 1
            chain.again("ingest")
            chain.start("agent", argv, environment)
            await proof.recovers()
        await proof.holds()


async def _stop(proof: Proof) -> None:
    """End the agent in good order, as an upgrade does."""
    process = proof.chain.processes["agent"]
    process.terminate()
    await asyncio.to_thread(process.wait, 30)


def _content(path: Path) -> list[str]:
    """Everything that a log holds, as SQL."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return list(connection.iterdump())
