"""Delivery over a real broker: everything arrives, is acknowledged, and the live batch never waits for the backlog."""

import asyncio
import random
import sqlite3
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from lms_agent.log.checksums import batch_checksum
from lms_agent.log.sqlite_log import SqliteLog
from lms_agent.sending import connection as connection_module
from lms_firmware_sim.stand import broker_access
from lms_protocol.delivery import SendingWindow
from lms_protocol.host_events import DeviceBorn, NodeBorn, NodeDied
from lms_protocol.messages import ACCEPTS_NAME, Publish
from lms_protocol.packing import unpack
from lms_protocol.ranges import NumberRanges
from lms_protocol.reading import Batch, Datatype, Gap, Quality, Reading
from lms_protocol.sparkplug import Metric, Payload, encode, parse
from support.first_release import first_release_log
from support.proxy import TcpProxy


async def test_acknowledgements_advance_the_log(host: Any, bench: Any, make_sender: Any, running: Any) -> None:
    await host.say(online=True)
    sender = make_sender()
    running(sender)
    batches = await bench.append(50)
    await host.until(lambda: bench.log.acked == 50)
    assert {number: batch for (_, number), batch in host.batches.items()} == {b.number: b for b in batches}
    assert sender.state.unacknowledged == 0
    assert sender.state.last_ack_at_ms is not None


async def test_acknowledged_number_survives_a_restart(
    host: Any, bench: Any, make_sender: Any, running: Any, tmp_path: Path
) -> None:
    await host.say(online=True)
    sender = make_sender()
    task = running(sender)
    await bench.append(5)
    await host.until(lambda: bench.log.acked == 5)
    sender.stop()
    await task
    bench.log.close()
    with SqliteLog.open(tmp_path / "log.sqlite3") as log:
        assert log.acked == 5


async def test_backlog_follows_behind_what_is_live(host: Any, bench: Any, make_sender: Any, running: Any) -> None:
    await bench.append(600)
    await host.say(online=True)
    running(make_sender())
    await host.until(lambda: host.of(NodeBorn))
    live = await bench.append(5)
    await host.until(lambda: len(host.batches) == 605)
    order = host.numbers()
    assert set(host.numbers(historical=False)) == {batch.number for batch in live}
    assert all(order.index(batch.number) < order.index(600) for batch in live)
    await host.until(lambda: bench.log.acked == 605)


async def test_live_goes_on_while_nothing_is_acknowledged(
    host: Any, bench: Any, make_sender: Any, running: Any
) -> None:
    host.acknowledges = False
    await bench.append(40)
    await host.say(online=True)
    running(make_sender(window=SendingWindow(live_limit=4, backlog_limit=8, resend_after_s=600)))
    await host.until(lambda: host.of(NodeBorn))
    await bench.append(30)
    await host.until(lambda: len(host.numbers(historical=False)) == 30)
    assert len(host.numbers(historical=True)) <= 8
    assert bench.log.acked == 0


async def test_what_is_not_acknowledged_is_sent_again_as_historical(
    host: Any, bench: Any, make_sender: Any, running: Any
) -> None:
    host.acknowledges = False
    await host.say(online=True)
    sender = make_sender(window=SendingWindow(live_limit=64, backlog_limit=64, resend_after_s=0.3))
    running(sender)
    await host.until(lambda: sender.state.born)
    await bench.append(3)
    await host.until(lambda: len(host.numbers(historical=True)) >= 3)
    assert host.numbers(historical=False) == [1, 2, 3]
    host.acknowledges = True
    await host.until(lambda: bench.log.acked == 3)


async def test_acknowledgement_from_the_future_is_no_progress(
    host: Any, bench: Any, make_sender: Any, running: Any, node: str, caplog: pytest.LogCaptureFixture
) -> None:
    host.acknowledges = False
    await host.say(online=True)
    running(make_sender())
    await host.until(lambda: host.of(NodeBorn))
    await bench.append(2)
    await host.until(lambda: len(host.batches) == 2)
    await host.publish(host.session.acknowledgement("test-org", node, 99, NumberRanges(), 1))
    await host.until(lambda: "not believed" in caplog.text)
    assert bench.log.acked == 0


async def test_refusal_of_what_was_never_sent_is_not_believed(
    host: Any, bench: Any, make_sender: Any, running: Any, node: str, caplog: pytest.LogCaptureFixture
) -> None:
    await host.say(online=True)
    sender = make_sender()
    running(sender)
    await host.until(lambda: host.of(NodeBorn))
    await host.publish(host.session.refusal("test-org", node, 7, 1))
    await host.until(lambda: "refusal is not believed" in caplog.text)
    assert sender.state.refused is None
    assert bench.log.trouble is None


async def test_refusal_is_told_loudly(
    host: Any, bench: Any, make_sender: Any, running: Any, node: str, caplog: pytest.LogCaptureFixture
) -> None:
    host.acknowledges = False
    await host.say(online=True)
    sender = make_sender()
    running(sender)
    await host.until(lambda: sender.state.born)
    await bench.append(1)
    await host.until(lambda: host.batches)
    await host.publish(host.session.refusal("test-org", node, 1, 1))
    await host.until(lambda: bench.log.trouble is not None)
    assert sender.state.refused == 1
    assert [record.levelname for record in caplog.records if "REFUSES batch 1" in record.message] == ["ERROR"]


async def test_malformed_command_is_passed_over(
    host: Any, bench: Any, make_sender: Any, running: Any, node: str, caplog: pytest.LogCaptureFixture
) -> None:
    await host.say(online=True)
    running(make_sender())
    await host.until(lambda: host.of(NodeBorn))
    assert host.client is not None
    await host.client.publish(f"spBv1.0/test-org/NCMD/{node}", b"\xff\xff\xff")
    await host.until(lambda: "cannot be used" in caplog.text)
    await bench.append(1)
    await host.until(lambda: len(host.batches) == 1)


def packs(host: Any) -> list[int]:
    """How many batches each message with packed ones held."""
    found = []
    for topic, payload in host.messages:
        if "/NDATA/" in topic:
            metric = next(metric for metric in parse(payload).metrics if metric.name == "Sync/Packed")
            found.append(len(unpack(metric.bytes_value)))
    return found


async def test_backlog_goes_packed_to_a_host_that_reads_packs(
    host: Any, bench: Any, make_sender: Any, running: Any
) -> None:
    host.reads_packs = True
    batches = await bench.append(700)
    await host.say(online=True)
    sender = make_sender()
    running(sender)
    await host.until(lambda: bench.log.acked == 700)
    live = await bench.append(5)
    await host.until(lambda: bench.log.acked == 705)
    assert {number: batch for (_, number), batch in host.batches.items()} == {b.number: b for b in [*batches, *live]}
    assert set(host.numbers(historical=False)) == {batch.number for batch in live}, "what is live is sent plain"
    assert sum(packs(host)) >= 500, "some went before the host had answered"
    assert max(packs(host)) > 5
    assert sender.state.sent_batches >= 705


async def test_backlog_goes_plain_after_births_that_no_such_host_answers(
    host: Any, bench: Any, make_sender: Any, running: Any, node: str
) -> None:
    host.reads_packs = True
    host.acknowledges = False
    await bench.append(20)
    await host.say(online=True)
    running(make_sender(window=SendingWindow(backlog_limit=8, resend_after_s=0.3)))
    await host.until(lambda: packs(host))
    host.reads_packs = False
    await host.publish(host.session.rebirth_command("test-org", node, 1))
    await host.until(lambda: len(host.of(NodeBorn)) == 2)
    host.acknowledges = True
    before = len(packs(host))
    await host.until(lambda: bench.log.acked == 20)
    assert len(packs(host)) <= before + 1, "one may have been on its way"


async def test_live_overtakes_a_packed_backlog_that_nobody_acknowledges(
    host: Any, bench: Any, make_sender: Any, running: Any
) -> None:
    host.reads_packs = True
    host.acknowledges = False
    await bench.append(400)
    await host.say(online=True)
    running(
        make_sender(window=SendingWindow(backlog_limit=8, packed_limit=100, backlog_bytes=2_000, resend_after_s=600))
    )
    await host.until(lambda: packs(host))
    await bench.append(30)
    await host.until(lambda: len(host.numbers(historical=False)) == 30)
    assert len(set(host.numbers(historical=True))) < 400, "it waits for acknowledgements"
    assert bench.log.acked == 0


async def test_small_and_large_batches_in_turn_fit_a_small_allowance(
    host: Any, bench: Any, make_sender: Any, running: Any
) -> None:
    host.reads_packs = True
    number = next(tag.number for tag in bench.tags if tag.device == "R1" and tag.name == "pH/PV")
    for _ in range(20):
        await bench.append(1)
        await bench.log.append("R1", [Reading(number, 1_700_000_000_000 + n, n / 7) for n in range(200)])
    await host.say(online=True)
    running(make_sender(window=SendingWindow(backlog_bytes=2_000, resend_after_s=600)))
    await host.until(lambda: bench.log.acked == 40)


async def test_backlog_goes_plain_once_the_host_reads_packs_no_more(
    host: Any, bench: Any, make_sender: Any, running: Any, node: str
) -> None:
    host.reads_packs = True
    host.acknowledges = False
    await bench.append(400)
    await host.say(online=True)
    sender = make_sender(window=SendingWindow(packed_limit=100, backlog_bytes=4_000, resend_after_s=1.0))
    running(sender)
    await host.until(lambda: packs(host))
    now_ms = time.time_ns() // 1_000_000
    metrics = [Metric(ACCEPTS_NAME, timestamp_ms=now_ms, datatype=Datatype.STRING, value="")]
    await host.publish(Publish(f"spBv1.0/test-org/NCMD/{node}", encode(Payload(now_ms, metrics)), qos=1))
    await host.until(lambda: not sender._session.may_pack)
    host.acknowledges = True
    await host.until(lambda: bench.log.acked == 400)
    assert len([topic for topic, _ in host.messages if "/DDATA/" in topic]) > 100, "the rest went plain"


async def test_hole_in_the_log_is_noticed_by_a_packed_backlog(
    host: Any, bench: Any, make_sender: Any, running: Any, tmp_path: Path
) -> None:
    host.reads_packs = True
    await bench.append(1_000)
    connection = sqlite3.connect(tmp_path / "log.sqlite3")
    connection.execute("DELETE FROM batches WHERE number = 300")
    connection.commit()
    connection.close()
    await host.say(online=True)
    running(make_sender())
    await host.until(lambda: bench.log.trouble is not None)
    assert "batch 300 cannot be found" in bench.log.trouble.reason


async def test_message_that_takes_long_is_not_begun_again(
    host: Any, bench: Any, make_sender: Any, running: Any, broker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "TIMEOUT_S", 1.5)
    number = next(tag.number for tag in bench.tags if tag.device == "R1" and tag.name == "pH/PV")
    await bench.log.append("R1", [Reading(number, 1_700_000_000_000 + n, n / 7) for n in range(12_000)])
    await host.say(online=True)
    async with TcpProxy(broker.port).run() as way:
        sender = make_sender(port=way.port)
        running(sender)
        await host.until(lambda: sender.state.connected)
        way.to_server.bytes_per_s = 60_000.0
        await host.until(lambda: bench.log.acked == 1)
        assert way.connections == 1


async def test_live_does_not_wait_for_backlog_that_fills_a_slow_link(
    host: Any, bench: Any, make_sender: Any, running: Any, broker: Any
) -> None:
    host.reads_packs = True
    numbers = [tag.number for tag in bench.tags if tag.device == "R1" and not tag.name.startswith("Sync/")]
    chance = random.Random(1)
    for scan in range(5_000):
        await bench.log.append("R1", [Reading(number, 1000 * scan, chance.random()) for number in numbers])
    await host.say(online=True)
    async with TcpProxy(broker.port).run() as way:
        way.to_server.bytes_per_s = 10_000.0
        running(make_sender(port=way.port))
        await host.until(lambda: len(packs(host)) > 20)
        passed = []
        for _ in range(9):
            before = way.to_server.passed
            (live,) = await bench.append()
            await host.until(lambda live=live: (bench.log.stream, live.number) in host.batches)
            passed.append(way.to_server.passed - before)
        assert sorted(passed)[4] < 8_000, f"bytes that passed before each live batch: {passed}"
        assert len(host.numbers(historical=True)) < 5_000, "the backlog was still being sent"
        way.to_server.bytes_per_s = None
        await host.until(lambda: bench.log.acked == bench.log.head)


@pytest.mark.parametrize("packed", [False, True])
async def test_damaged_batch_blocks_nobody(
    host: Any, bench: Any, make_sender: Any, running: Any, tmp_path: Path, packed: bool
) -> None:
    host.reads_packs = packed
    await bench.append(300)  # more than the log keeps in memory
    connection = sqlite3.connect(tmp_path / "log.sqlite3")
    connection.execute("UPDATE batches SET record = x'00' WHERE number = 3")
    connection.commit()
    connection.close()
    await host.say(online=True)
    running(make_sender())
    await host.until(lambda: bench.log.acked == 300)
    sent = {number: batch for (_, number), batch in host.batches.items()}
    assert [number for number, batch in sent.items() if not batch.readings] == [3]
    (gap,) = sent[3].gaps
    assert "damaged" in gap.reason
    assert gap.began_at_ms > 0


async def test_large_batches_and_records_of_the_first_release_go_with_the_backlog(
    host: Any, bench: Any, make_sender: Any, running: Any, tmp_path: Path
) -> None:
    host.reads_packs = True
    number = next(tag.number for tag in bench.tags if tag.device == "R1" and tag.name == "pH/PV")
    large = await bench.log.append("R1", [Reading(number, 1_700_000_000_000 + n, n / 7) for n in range(12_000)])
    old, *_ = await bench.append(300)
    form_1 = b"\x12\x12\x10" + bytes([number]) + bytes.fromhex("18e8d795ffbc31") + b"\x69" + struct.pack("<d", 7.03)
    connection = sqlite3.connect(tmp_path / "log.sqlite3")
    connection.execute(
        "UPDATE batches SET record = ?, checksum = ? WHERE number = ?",
        (form_1, batch_checksum(old.number, "R1", form_1), old.number),
    )
    connection.commit()
    connection.close()
    await host.say(online=True)
    running(make_sender())
    await host.until(lambda: bench.log.acked == 301)
    sent = {number: batch for (_, number), batch in host.batches.items()}
    assert sent[large.number] == large
    assert sent[old.number].readings == (Reading(number, 1_700_000_001_000, 7.03),)
    assert 1 <= sum(packs(host)) <= 300


async def test_killed_broker_costs_nothing(
    start_broker: Any, open_host: Any, bench: Any, make_sender: Any, running: Any, node: str
) -> None:
    broker = start_broker(broker_access.agent("test-org", node, "secret-of-the-agent"))
    sender = make_sender(broker)
    running(sender)
    async with open_host(broker) as host:
        await host.say(online=True)
        await host.until(lambda: host.of(NodeBorn))
        await bench.append(20)
        await host.until(lambda: len(host.batches) >= 10)
        broker.kill()
        await bench.append(20)
        await host.until(lambda: not sender.state.connected)
        assert sender.state.error or not sender.state.connected
    await asyncio.to_thread(broker.start)
    async with open_host(broker) as again:
        await again.say(online=True)
        again.batches = host.batches
        again.ledgers = host.ledgers
        await again.until(lambda: bench.log.acked == 40)
        assert sorted(number for _, number in again.batches) == list(range(1, 41))


async def test_wrong_password_is_named_and_tried_again(
    host: Any, bench: Any, make_sender: Any, running: Any, node: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    sender = make_sender(password="wrong")
    running(sender)
    await host.until(lambda: caplog.text.count("next attempt") >= 2)
    assert f"refuses account '{node}'" in sender.state.error
    assert "not authorised" in sender.state.error
    assert "wrong" not in caplog.text


async def test_unreachable_broker_is_named(
    bench: Any, make_sender: Any, running: Any, free_port: int, host: Any
) -> None:
    sender = make_sender(port=free_port)
    running(sender)
    await host.until(lambda: sender.state.error)
    assert "cannot be reached" in sender.state.error


async def test_port_without_tls_is_named(bench: Any, make_sender: Any, running: Any, host: Any) -> None:
    sender = make_sender(tls=True)
    running(sender)
    await host.until(lambda: sender.state.error)
    assert not sender.state.connected


async def test_account_without_the_right_to_subscribe_is_named(
    start_broker: Any, bench: Any, make_sender: Any, running: Any, node: str, host: Any
) -> None:
    allowed = broker_access.agent("test-org", node, "secret-of-the-agent")
    account = broker_access.Account(allowed.name, allowed.password, allowed.publishes, ())
    sender = make_sender(start_broker(account))
    running(sender)
    await host.until(lambda: sender.state.error)
    assert "may not subscribe to spBv1.0/test-org/NCMD/" in sender.state.error


async def test_second_agent_with_the_same_id_is_named(
    host: Any, make_sender: Any, running: Any, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = make_sender(), make_sender()
    running(first)
    await host.until(lambda: first.state.connected)
    running(second)
    # In the journal it stays; in the state only until the next of the two has its turn.
    await host.until(lambda: "another program with the client id" in caplog.text)


async def test_silent_peer_leaves_no_socket_behind(bench: Any, make_sender: Any, running: Any, host: Any) -> None:
    came, gone = asyncio.Event(), asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        await reader.read()
        writer.close()
        await writer.wait_closed()
        gone.set()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with server:
        sender = make_sender(port=server.sockets[0].getsockname()[1])
        task = running(sender)
        await asyncio.wait_for(came.wait(), 30)
        sender.stop()
        await asyncio.wait_for(task, 30)
        await asyncio.wait_for(gone.wait(), 30)


async def test_broken_connection_is_followed_by_the_will(host: Any, bench: Any, make_sender: Any, running: Any) -> None:
    await host.say(online=True)
    sender = make_sender()
    running(sender)
    await host.until(lambda: len(host.of(DeviceBorn)) == 2)
    assert sender._conversation is not None
    sender._conversation._client._client.socket().shutdown(2)
    await host.until(lambda: host.of(NodeDied) and len(host.of(NodeBorn)) == 2)
    await bench.append(1)
    await host.until(lambda: bench.log.acked == 1)


@pytest.mark.parametrize("packed", [False, True])
async def test_log_of_the_first_release_is_sent_as_it_was_written(
    host: Any, bench: Any, make_sender: Any, running: Any, tmp_path: Path, packed: bool
) -> None:
    host.reads_packs = packed
    written = [
        Batch(
            number,
            "R1",
            (Reading(1, 1_000 * number, number / 7), Reading(2, 1_000 * number + 1, None, Quality.BAD)),
            (Gap(number, (2,), 1_000 * number, None, "no reply"),) if number % 50 == 0 else (),
        )
        for number in range(1, 601)
    ]
    stream = first_release_log(tmp_path / "first.sqlite3", written, acked=100, names=("pH/PV", "DO/PV"))
    bench.log.close()
    with SqliteLog.open(tmp_path / "first.sqlite3") as log:
        bench.log, bench.tags = log, log.tags()
        await host.say(online=True)
        sender = make_sender()
        task = running(sender)
        await host.until(lambda: log.acked == 600)
        assert [host.batches[stream, number] for number in range(101, 601)] == written[100:]
        assert bool(packs(host)) is packed
        sender.stop()
        await task
