"""What one scan of 50 tags costs the agent, beside the plainest gateway doing the same work on the same wire."""

import asyncio
import sys
from pathlib import Path

import pytest
from lms_firmware_sim.stand.programs import plain_environment
from lms_firmware_sim.stand.spawning import spawn, stop
from support import bare_gateway
from support.chain import chain, cpu_s, resident_mib
from support.figures import show

pytestmark = pytest.mark.bench
SETTLE_S, MEASURE_S = 4.0, 20.0


async def cpu_ms_a_scan(pid: int, period_s: float) -> float:
    await asyncio.sleep(SETTLE_S)
    before_s = cpu_s(pid)
    await asyncio.sleep(MEASURE_S)
    return (cpu_s(pid) - before_s) * 1_000 / (MEASURE_S / period_s)


@pytest.mark.parametrize("period_s", [1.0, 0.1])
async def test_cpu_and_memory_of_a_scan(tmp_path: Path, migrated_database, broker, period_s: float) -> None:
    async with chain(tmp_path, migrated_database, broker, period_s=period_s) as running:
        agent = running.processes["agent"].pid
        bare = spawn(
            [
                *(sys.executable, bare_gateway.__file__, str(running.wire.port), str(broker.port)),
                *("simulator", broker.password_file("simulator"), "lms/sim/bare/truth"),
                *(str(tmp_path / "bare.sqlite3"), str(period_s)),
            ],
            log_path=tmp_path / "bare.log",
            env=plain_environment(),
            cwd=tmp_path,
        )
        try:
            ours, peer = await asyncio.gather(cpu_ms_a_scan(agent, period_s), cpu_ms_a_scan(bare.pid, period_s))
            memory, bare_memory = resident_mib(agent), resident_mib(bare.pid)
            assert bare.poll() is None, (tmp_path / "bare.log").read_text()
        finally:
            stop(bare, ())
    what = f"agent, 50 tags every {period_s:g} s, log and broker included"
    show(
        f"{what}: CPU a scan",
        f"{ours:.2f} ms",
        beside=f"plain pymodbus + SQLite + paho: {peer:.2f} ms",
        ratio=ours / peer,
    )
    show(
        "  its resident memory",
        f"{memory:.1f} MiB",
        beside=f"the same gateway: {bare_memory:.1f} MiB",
        ratio=memory / bare_memory,
    )
