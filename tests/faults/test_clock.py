"""Rows 34 to 37: clocks that are wrong, by libfaketime in the real programs."""

import asyncio
import json
import os
import random
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from support.broker_clients import someone
from support.proving import Proof
from support.reconciling import acked, head

LIBRARIES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/local/lib/faketime/libfaketimeMT.so.1")


BACKWARDS = """
select number, before, first_taken_at from (
    select number, first_taken_at, lag(last_taken_at) over (partition by stream order by number) as before from ledger
    where first_taken_at is not null) as batches
where first_taken_at < before
"""


class FalseClock:
    """What a program takes for the time, once it is started with `environment`."""

    def __init__(self, folder: Path, library: Path) -> None:
        self._file = folder / "false-time"
        self.set(0)
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, seconds: float) -> None:
        """The clock is so much ahead of the right time."""
        fresh = self._file.with_suffix(".fresh")
        fresh.write_text(f"{seconds:+.3f}\n")
        fresh.replace(self._file)

    def check(self) -> None:
        """Look whether a program takes it for the time."""
        self.set(-3600)
        shown = subprocess.run(
            [sys.executable, "-c", "import time; print(time.time())"],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        self.set(0)
        if abs(time.time() - 3600 - float(shown)) > 600:
            pytest.skip("needs a libfaketime that this Python believes")


@pytest.fixture
def false_clock(tmp_path_factory: pytest.TempPathFactory) -> FalseClock:
    found = [path for pattern in LIBRARIES for path in Path("/").glob(pattern.removeprefix("/"))]
    if not found:
        pytest.skip("needs libfaketime: apt-get install libfaketime")
    clock = FalseClock(tmp_path_factory.mktemp("clock"), found[0])
    clock.check()
    return clock


def _restart(proof: Proof, name: str, clock: FalseClock) -> None:
    proof.chain.kill(name)
    proof.chain.again(name, **clock.environment)


def _boot(proof: Proof, clock: FalseClock) -> None:
    """Kill the agent and start it as after a boot: the kernel shows it another boot id."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare, to show the agent another boot")
    chain = proof.chain
    boot = chain.folder / "boot_id"
    boot.write_text(f"{uuid4()}\n")
    chain.kill("agent")
    argv, environment = chain.commands["agent"]
    script = f'mount --bind {boot} /proc/sys/kernel/random/boot_id && exec "$@"'
    chain.start("agent", ["unshare", "--mount", "sh", "-c", script, "sh", *argv], environment | clock.environment)


@pytest.mark.fault(row=34)
async def test_boot_in_1970_is_corrected_before_anything_is_sent(prove: Any, false_clock: FalseClock) -> None:
    async with prove() as proof:
        chain = proof.chain
        false_clock.set(-time.time() + 3600)
        _boot(proof, false_clock)
        proof.row.injected += 1
        logged, sent = head(chain.log), acked(chain.log)
        await proof.until(lambda: head(chain.log) > logged + 30, "readings are logged")
        assert acked(chain.log) <= sent + 10, "nothing is sent with a time that is known to be wrong"
        assert proof.query("select 1 from ledger where first_taken_at < now() - interval '1 day'") == []
        assert proof.status()["clock"]["trust"] == "wrong"
        false_clock.set(0)
        await proof.recovers()
        await proof.holds()
        years = proof.query("select distinct extract(year from taken_at)::int from readings")
        assert years == [(time.gmtime().tm_year,)], "every reading has its corrected time"
        proof.row.notes.append(f"{head(chain.log) - logged} batches were logged meanwhile")


@pytest.mark.fault(row=35)
async def test_steps_of_an_hour_change_neither_order_nor_intervals(
    prove: Any, false_clock: FalseClock, chance: random.Random
) -> None:
    async with prove() as proof:
        _restart(proof, "agent", false_clock)
        await proof.recovers()
        for step_s in (3600, 0, -3600, 0) * 2:
            false_clock.set(step_s)
            proof.row.injected += 1
            await asyncio.sleep(chance.uniform(2.0, 5.0))
        await proof.recovers()
        await proof.holds()
        backwards = proof.query(BACKWARDS)
        (longest_s,) = proof.query(
            "select extract(epoch from max(step))::float from (select taken_at - lag(taken_at) over"
            " (partition by series_id order by taken_at) as step from readings) s"
        )[0]
        proof.row.notes.append(f"longest interval {longest_s:.1f} s")
        assert backwards == [], "the order of the batches is that of their times"
        assert longest_s < 600, "no step of the clock is in the readings"


@pytest.fixture
async def door(tmp_path: Path, broker: Any) -> Any:
    """A TLS door in front of the broker: its port, and the certificate to trust."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=test broker", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", broker.port)
        await asyncio.gather(_forward(reader, inner_writer), _forward(inner_reader, writer))

    server = await asyncio.start_server(pass_on, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1], certificate


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@pytest.mark.fault(row=36)
async def test_tls_refused_by_a_wrong_clock_keeps_logging(prove: Any, door: Any, false_clock: FalseClock) -> None:
    port, certificate = door
    async with prove() as proof:
        chain = proof.chain
        config = chain.folder / "agent.toml"
        lines = [line for line in config.read_text().splitlines() if not line.startswith("url")]
        at = lines.index("[broker]") + 1
        lines[at:at] = [f'url = "mqtts://127.0.0.1:{port}"', f'ca_file = "{certificate}"']
        config.write_text("\n".join(lines))
        false_clock.set(-365 * 86_400)
        _restart(proof, "agent", false_clock)
        proof.row.injected += 1
        await proof.until(lambda: "cannot be trusted" in chain.said("agent"), "TLS is refused")
        assert "date and time" in chain.said("agent"), "the remedy is named"
        logged = head(chain.log)
        await proof.until(lambda: head(chain.log) > logged + 30, "readings are logged")
        false_clock.set(0)
        await proof.recovers()
        await proof.holds()


@pytest.mark.fault(row=37)
async def test_state_of_the_host_never_decreases_when_its_clock_does(
    prove: Any, broker: Any, false_clock: FalseClock
) -> None:
    async with prove() as proof, _states(broker, proof.chain.group) as states:
        for hours in (0, -1, -30, -1000):
            false_clock.set(3600 * hours)
            _restart(proof, "ingest", false_clock)
            proof.row.injected += 1
            heard = len(states)
            await proof.until(lambda heard=heard: any(state["online"] for state in states[heard:]), "online again")
            await proof.recovers()
        times = [state["timestamp"] for state in states]
        assert times == sorted(times), states
        await proof.holds()


@asynccontextmanager
async def _states(broker: Any, host: str) -> AsyncIterator[list[dict[str, Any]]]:
    """Every STATE of a host, as the broker gives it."""
    states: list[dict[str, Any]] = []
    async with someone(broker, "feed") as listener:
        await listener.subscribe(f"spBv1.0/STATE/{host}", qos=1)

        async def listen() -> None:
            async for message in listener.messages:
                states.append(json.loads(message.payload))  # noqa: PERF401 - looked at while it grows

        task = asyncio.create_task(listen())
        try:
            yield states
        finally:
            task.cancel()
