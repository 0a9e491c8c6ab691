"""Readings whose time is not known yet are held back, and then delivered as ordinary batches: on a real broker."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from lms_agent.sending.connection import Address
from lms_agent.sending.sender import Sender
from lms_protocol.edge import EdgeSession
from lms_protocol.host_events import DeviceBorn
from support.clocks import Bench, Pi, taken, truth

GROUP = "test-org"


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path / "log.sqlite3", Pi())
    yield made
    made.stop()


@pytest.fixture
def sender_of(broker: Any, node: str, host_id: str) -> Any:
    def make(bench: Bench) -> Sender:
        account = broker.accounts.get(node) or broker.add_agent(GROUP, node)
        address = Address(
            url=f"mqtt://127.0.0.1:{broker.port}",
            host="127.0.0.1",
            port=broker.port,
            tls=False,
            account=node,
            read_password=lambda: account.password,
            ca_file=None,
            client_id=f"{GROUP}-{node}",
        )
        session = EdgeSession(
            group=GROUP,
            node=node,
            stream=bench.log.stream,
            bd_seq=bench.log.bd_seq,
            tags=bench.tags,
            primary_host=host_id,
        )
        sender = Sender(
            log=bench.log, session=session, address=address, clock=bench.keeper, max_wait_s=0.5, holding=bench.keeper
        )
        bench.keeper.listen(sender.wake)
        return sender

    return make


@pytest.mark.parametrize("packed", [False, True])
async def test_readings_of_a_wrong_clock_are_sent_when_it_is_right_and_not_before(
    host: Any, bench: Bench, sender_of: Any, running: Any, packed: bool
) -> None:
    host.reads_packs = packed
    bench.pi.synchronise()
    await bench.start()
    await bench.seconds(3)
    await bench.power_cut()
    await bench.seconds(5)
    await host.say(online=True)
    running(sender_of(bench))
    await host.until(lambda: len(host.batches) == 3)  # of the boot before: nothing holds those
    await bench.seconds(20)
    await asyncio.sleep(0.5)
    assert set(host.numbers()) == {1, 2, 3}
    births = [reading for event in host.of(DeviceBorn) for reading in event.readings]
    assert all(reading.taken_at_ms <= bench.pi.true_ms - 25_000 for reading in births), "no provisional time in births"
    bench.pi.synchronise()
    await bench.seconds(3)
    await host.until(lambda: len(host.batches) == 31)
    await bench.seconds(2)  # live again
    await host.until(lambda: len(host.batches) == 33)
    batches = [batch for _, batch in sorted(host.batches.items(), key=lambda item: item[0][1] or 0)]
    assert taken(batches) == truth(batches)
    assert 33 in host.numbers(historical=False)
    assert 4 in host.numbers(historical=True)
    await host.until(lambda: bench.log.acked == 33)


@pytest.mark.parametrize("packed", [False, True])
async def test_readings_whose_time_nobody_will_know_are_delivered_in_order(
    host: Any, bench: Bench, sender_of: Any, running: Any, packed: bool
) -> None:
    host.reads_packs = packed
    await bench.start()
    await bench.seconds(10)
    await bench.power_cut()
    await bench.seconds(2)
    await host.say(online=True)
    running(sender_of(bench))
    await host.until(lambda: host.of(DeviceBorn))
    assert not host.batches
    bench.pi.synchronise()
    await bench.seconds(3)
    await host.until(lambda: len(host.batches) == 15)
    batches = [batch for _, batch in sorted(host.batches.items(), key=lambda item: item[0][1] or 0)]
    assert taken(batches) == sorted(set(taken(batches)))
    assert taken(batches)[10:] == truth(batches)[10:]
    assert batches == [bench.log.get(batch.number) for batch in batches]


async def test_first_sending_makes_an_untrusted_time_final(
    host: Any, bench: Bench, sender_of: Any, running: Any
) -> None:
    bench.pi.boot_ms_, bench.pi.wrong_by_ms, bench.pi.synchronised = 3_600_000, 0, None
    await bench.start()
    await bench.seconds(3)
    assert bench.keeper.first_held == 1
    await host.say(online=True)
    running(sender_of(bench))
    await host.until(lambda: len(host.batches) == 3)
    assert bench.log.first_open() is None
