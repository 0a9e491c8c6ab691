"""Messages that come in one go or byte by byte, with everything that MQTT sends between them, are each heard once."""

import asyncio
import random
from contextlib import suppress

import aiomqtt
import pytest
from lms_cloud.kernel.settings import CloudSettings
from lms_cloud.telemetry.broker import open_client
from lms_cloud.telemetry.broker_packets import head, packet_end, plain_message, plain_packets
from lms_protocol.messages import Publish
from support.broker_clients import someone

CONNACK = b"\x20\x02\x00\x00"
PINGRESP = b"\xd0\x00"


def publish(topic: str, payload: bytes, *, kind: int = 0x30, packet_id: bytes = b"") -> bytes:
    body = len(topic.encode()).to_bytes(2) + topic.encode() + packet_id + payload
    return head(kind, len(body)) + body


class Saying:
    """A server that accepts one client and says what it is told, in pieces."""

    def __init__(self, data: bytes, rng: random.Random, *, answers: int = 0) -> None:
        self._data = data
        self._rng = rng
        self._answers = answers
        self.heard = b""

    async def __aenter__(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[1]

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(CONNACK)
        at = 0
        while at < len(self._data):
            size = self._rng.choice([1, 2, 3, 50, 1000, 70_000, 400_000])
            writer.write(self._data[at : at + size])
            await writer.drain()
            at += size
            if self._rng.random() < 0.2:
                await asyncio.sleep(0.001)
        self.heard = await reader.readexactly(self._answers)
        writer.close()


def client_of(port: int, receive):
    settings = CloudSettings(database_url="postgresql://x@nowhere/x", mqtt_url=f"mqtt://someone@127.0.0.1:{port}")
    return open_client(settings, name="test", receive=receive)


async def hear(port: int) -> list[tuple[str, bytes, bool]]:
    heard = []
    client = client_of(port, lambda each: heard.append((each.topic.value, each.payload, bool(each.retain))))
    with suppress(aiomqtt.MqttError):
        async with client:
            async for _ in client.messages:
                pass
            pytest.fail("the connection ended without a word")
    return heard


@pytest.mark.parametrize("seed", range(6))
async def test_messages_of_any_size_in_any_pieces_are_heard_in_order(seed) -> None:
    rng = random.Random(seed)
    data, expected, ids = b"", [], []
    for number in range(150):
        size = rng.choice([0, 1, 60, 120, 127, 128, 1300, 16_400, 16_384, 300_000 if number % 50 == 0 else 5])
        topic, payload = f"spBv1.0/ä/{number}", rng.randbytes(size)
        kind = rng.choice([0x30, 0x30, 0x30, 0x31, 0x32])
        packet_id = (number + 1).to_bytes(2) if kind == 0x32 else b""
        ids += [packet_id] * (kind == 0x32)
        data += publish(topic, payload, kind=kind, packet_id=packet_id)
        data += PINGRESP * (rng.random() < 0.1)
        expected.append((topic, payload, kind == 0x31))
    saying = Saying(data, rng, answers=4 * len(ids))
    async with saying as port:
        assert await hear(port) == expected
    assert saying.heard == b"".join(b"\x40\x02" + each for each in ids)  # what asks for it is acknowledged


@pytest.mark.parametrize(
    "bad",
    [b"\x30\xff\xff\xff\xff\x01", b"\x30\xff\xff\xff\xff\xff\xff\xff", publish("a", b"")[:2] + b"\x00\xff\x00"],
    ids=["length of five bytes", "length without end", "topic longer than the packet"],
)
async def test_what_is_no_packet_ends_the_connection_after_all_before_it(bad) -> None:
    rng = random.Random(1)
    async with Saying(publish("a", b"1") + publish("b", b"2") + bad, rng) as port:
        assert (await hear(port))[:2] == [("a", b"1", False), ("b", b"2", False)]


@pytest.mark.parametrize("size", [0, 1, 100, 127 - 3, 128 - 3, 20_000, 3_000_000])
def test_a_packet_that_is_not_all_there_ends_behind_what_is(size) -> None:
    whole = publish("a", b"x" * size)
    for cut in {0, 1, 2, 3, 4, 5, 6, len(whole) // 2, len(whole) - 1} & set(range(len(whole))):
        assert packet_end(b"zz" + whole[:cut], 2) > 2 + cut
    assert packet_end(b"zz" + whole + b"more", 2) == 2 + len(whole)


def test_packets_put_together_are_those_taken_apart() -> None:
    messages = [Publish(f"t/{n}", b"p" * n * n, 0, n % 2 == 0) for n in range(40)]
    data, at, found = plain_packets(messages), 0, []
    while at < len(data):
        end = packet_end(data, at)
        message = plain_message(data, at, end)
        found.append(Publish(message.topic.value, message.payload, message.qos, bool(message.retain)))
        at = end
    assert found == messages


async def test_messages_published_together_come_in_order_through_a_real_broker(broker) -> None:
    heard: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
    messages = [Publish(f"lms/live/g/{n % 7}", bytes([n % 251]) * n, int(n % 50 == 49)) for n in range(600)]
    settings = CloudSettings(database_url="postgresql://x@nowhere/x", mqtt_url=broker.url("cloud-ingest"))
    async with someone(broker, "feed") as feed:
        await feed.subscribe("lms/live/g/+", 1)
        async with open_client(settings, name="test", receive=lambda message: None) as client:
            for at in range(0, len(messages), 64):
                await client.publish_all(messages[at : at + 64])
        async with asyncio.timeout(60):
            found = [await anext(aiter(feed.messages)) for _ in messages]
    assert [(each.topic.value, each.payload) for each in found] == [(each.topic, each.payload) for each in messages]
    assert heard.empty()
