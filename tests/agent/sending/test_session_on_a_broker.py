"""What the agent says on a real broker, and when: births, data, deaths, silence."""

import asyncio
from typing import Any

from lms_protocol.host_events import DeviceBorn, NodeBorn, NodeDied
from lms_protocol.messages import Publish
from lms_protocol.sparkplug import decode


def sparkplug(host: Any, node: str) -> list[tuple[str, int | None]]:
    """(message type, sequence number) of what the node said, in order."""
    said = [(topic.split("/"), payload) for topic, payload in host.messages]
    return [
        (levels[2], decode(payload).seq) for levels, payload in said if levels[3:4] == [node] and "CMD" not in levels[2]
    ]


async def test_births_come_first_and_sequence_numbers_rise(
    host: Any, bench: Any, node: str, make_sender: Any, running: Any
) -> None:
    await host.say(online=True)
    running(make_sender())
    await host.until(lambda: len(host.of(DeviceBorn)) == 2)
    await bench.append(300)
    await host.until(lambda: len(host.batches) == 300)
    said = sparkplug(host, node)
    assert [kind for kind, _ in said[:4]] == ["NBIRTH", "DBIRTH", "DBIRTH", "DDATA"]
    assert [seq for _, seq in said] == [number % 256 for number in range(len(said))]


async def test_nothing_is_said_before_the_primary_host_is_online(
    host: Any, bench: Any, make_sender: Any, running: Any, node: str
) -> None:
    await host.say(online=False)
    sender = make_sender()
    running(sender)
    await host.until(lambda: sender.state.connected)
    await bench.append(3)
    assert sparkplug(host, node) == []
    await host.say(online=True)
    await host.until(lambda: len(host.batches) == 3)
    assert host.numbers(historical=True) == [1, 2, 3]


async def test_primary_host_offline_silences_the_agent_until_it_is_back(
    host: Any, bench: Any, make_sender: Any, running: Any
) -> None:
    await host.say(online=True)
    sender = make_sender()
    running(sender)
    await host.until(lambda: sender.state.born)
    await bench.append(1)
    await host.until(lambda: len(host.batches) == 1)
    await host.say(online=False)
    await host.until(lambda: host.of(NodeDied))
    connections = sender.state.connections
    await host.until(lambda: sender.state.connections == connections + 1 or sender.state.connected)
    said = len(host.messages)
    await bench.append(20)
    assert len(host.messages) == said
    await host.say(online=True)
    await host.until(lambda: len(host.batches) == 21)
    assert sorted(host.numbers(historical=True)) == list(range(2, 22))
    born = host.of(NodeBorn)
    assert [b.bd_seq for b in born] == [born[0].bd_seq, born[0].bd_seq + 1]


async def test_older_state_of_the_host_means_nothing(host: Any, bench: Any, make_sender: Any, running: Any) -> None:
    await host.say(online=True, timestamp_ms=2_000_000)
    running(make_sender())
    await host.until(lambda: host.of(NodeBorn))
    await host.say(online=False, timestamp_ms=1_999_999)
    await bench.append(1)
    await host.until(lambda: host.batches)
    assert not host.of(NodeDied)


async def test_agent_without_primary_host_sends_at_once(host: Any, bench: Any, make_sender: Any, running: Any) -> None:
    running(make_sender(primary_host=None))
    await bench.append(1)
    await host.until(lambda: len(host.batches) == 1)


async def test_rebirth_command_brings_all_births_again(
    host: Any, bench: Any, make_sender: Any, running: Any, node: str
) -> None:
    await host.say(online=True)
    running(make_sender())
    await host.until(lambda: len(host.of(DeviceBorn)) == 2)
    await bench.append(5)
    await host.until(lambda: len(host.batches) == 5)
    await host.publish(host.session.rebirth_command("test-org", node, 1))
    await host.until(lambda: len(host.of(DeviceBorn)) == 4)
    await bench.append(2)
    await host.until(lambda: len(host.batches) == 7)
    kinds = sparkplug(host, node)
    again = [seq for _, seq in kinds[8:]]
    assert [kind for kind, _ in kinds[8:11]] == ["NBIRTH", "DBIRTH", "DBIRTH"]
    assert again == list(range(len(again)))
    first, second = host.of(NodeBorn)
    assert first.bd_seq == second.bd_seq
    assert host.numbers() == [1, 2, 3, 4, 5, 6, 7]


async def test_births_carry_the_newest_readings_and_what_is_acknowledged(
    host: Any, bench: Any, make_sender: Any, running: Any
) -> None:
    (batch,) = await bench.append(1)
    bench.log.acknowledge(1)
    await host.say(online=True)
    running(make_sender())
    await host.until(lambda: len(host.of(DeviceBorn)) == 2)
    assert host.of(NodeBorn)[0].acked == 1
    assert host.of(NodeBorn)[0].stream == bench.log.stream
    (born,) = [b for b in host.of(DeviceBorn) if b.device == "R1"]
    assert {r.tag: r.value for r in born.readings} == {r.tag: r.value for r in batch.readings}


async def test_stop_publishes_the_deaths(host: Any, bench: Any, make_sender: Any, running: Any, node: str) -> None:
    await host.say(online=True)
    sender = make_sender()
    task = running(sender)
    await host.until(lambda: len(host.of(DeviceBorn)) == 2)
    sender.stop()
    await task
    await host.until(lambda: host.of(NodeDied))
    assert [kind for kind, _ in sparkplug(host, node)][-3:] == ["DDEATH", "DDEATH", "NDEATH"]


async def test_bd_seq_goes_on_after_a_restart_of_the_agent(
    host: Any, bench: Any, make_sender: Any, running: Any
) -> None:
    await host.say(online=True)
    for count in (1, 2):
        sender = make_sender()
        task = running(sender)
        await host.until(lambda count=count: len(host.of(NodeBorn)) == count)
        sender.stop()
        await task
    assert [born.bd_seq for born in host.of(NodeBorn)] == [0, 1]


async def test_agent_that_breaks_leaves_the_will_behind(host: Any, bench: Any, make_sender: Any, node: str) -> None:
    await host.say(online=True)
    sender = make_sender()
    task = asyncio.create_task(sender.run())
    await host.until(lambda: len(host.of(DeviceBorn)) == 2)
    task.cancel()
    await asyncio.wait((task,))
    await host.until(lambda: host.of(NodeDied))
    assert [kind for kind, _ in sparkplug(host, node)][-1] == "NDEATH"


async def test_state_from_the_future_that_the_broker_forgot_does_not_silence_the_agent(
    host: Any, make_sender: Any, running: Any, host_id: str
) -> None:
    await host.say(online=True, timestamp_ms=4_102_444_800_000)
    sender = make_sender()
    running(sender)
    await host.until(lambda: host.of(NodeBorn))
    await host.publish(Publish(f"spBv1.0/STATE/{host_id}", b"", qos=1, retain=True))
    await host.say(online=True)
    assert sender._conversation is not None
    sender._conversation._client._client.socket().shutdown(2)
    await host.until(lambda: len(host.of(NodeBorn)) == 2)
