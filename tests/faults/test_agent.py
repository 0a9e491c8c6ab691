"""Rows 18 to 23: the agent is killed, stopped, starved of memory, given a broken configuration, upgraded."""

import asyncio
import json
import random
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from support.reconciling import acked, head

KILLED_AGENTS = Path(__file__).parent / "children" / "killed_agents.py"


@pytest.mark.fault(row=18)
@pytest.mark.quick
@pytest.mark.timeout(1800)
async def test_agent_killed_at_random_moments_loses_nothing_that_it_had_logged(
    prove: Any, full: bool, chance: random.Random
) -> None:
    async with prove(period_s=0.05, tags=4) as proof:
        chain = proof.chain
        chain.kill("agent")
        kills = 1000 if full else 20
        config = chain.folder / "agent.toml"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, KILLED_AGENTS, config, str(kills), str(chance.randrange(1 << 32)), "0.6"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=chain.folder,
        )
        out, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()[-4000:]
        proof.row.injected = json.loads(out)["killed"]
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
async def test_agent_killed_between_send_and_acknowledgement_doubles_nothing(
    prove: Any, proxy: Any, full: bool
) -> None:
    async with proxy() as way, prove(agent_port=way.port) as proof:
        chain = proof.chain
        for _ in range(10 if full else 2):
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
async def test_stopped_agent_gives_no_sign_of_life_and_records_the_gap(
    prove: Any, signs_of_life: Any, full: bool
) -> None:
    async with prove() as proof, signs_of_life(proof.chain) as signs:
        chain = proof.chain
        await proof.until(lambda: signs.watchdog > 2, "signs of life")
        for stopped_s in (12.0, 25.0) if full else (5.0,):
            chain.processes["agent"].send_signal(signal.SIGSTOP)
            await asyncio.sleep(1.0)
            before, logged = signs.watchdog, head(chain.log)
            await asyncio.sleep(stopped_s)
            assert signs.watchdog == before, "systemd would have heard a process that does nothing"
            assert head(chain.log) == logged
            chain.processes["agent"].send_signal(signal.SIGCONT)
            proof.row.injected += 1
            await proof.recovers()
            await proof.until(lambda before=before: signs.watchdog > before, "signs of life again")
        await proof.holds()
