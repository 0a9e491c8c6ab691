"""Many MQTT packets in one go, in both directions: what paho does byte by byte and a turn of the event loop each.

paho reads a packet's head byte by byte, handles one packet a call, and takes some 60 µs and four system calls for it;
aiomqtt takes 150 µs for a message that it publishes. Ingest spends 11 µs on a message of 50 readings. So plain
messages (PUBLISH at QoS 0) are cut out of the stream here, and put together here; everything else, and the first packet
of each read, by which paho tells that the broker is alive, goes its way through paho.

Used by `lms_cloud.telemetry.broker`.

Source: MQTT 3.1.1, sections 2.2.3 (remaining length) and 3.3 (PUBLISH).
"""

from collections.abc import Callable, Iterable
from typing import Final

import aiomqtt
from lms_protocol.messages import Publish
from paho.mqtt.client import Client
from paho.mqtt.enums import MQTTErrorCode

CHUNK: Final = 128 * 1024
"""Bytes read in one turn of the event loop: a millisecond's work."""
PUBLISH: Final = 0x30
RETAINED: Final = 0x31
LONGEST_HEAD: Final = 5
"""Bytes before a packet's content: its kind, and up to four of its length. With one more it is no packet."""


class PacketReader:
    """Stands between a paho client and its socket.

    Args:
        client: not connected yet; speaks MQTT 3.1.1.
        receive: called with each message; must not raise.
    """

    def __init__(self, client: Client, receive: Callable[[aiomqtt.Message], None]) -> None:
        self._receive = receive
        self._read_one = client.loop_read
        self._read_socket = client._sock_recv  # noqa: SLF001 - paho has no public place for a buffer
        self._unread = bytearray()
        self._wanted = 0  # bytes of the packet that has begun, as far as known
        self._given = memoryview(b"")
        self._failure: OSError | None = None
        self._ended = False
        client.loop_read = self.read  # type: ignore[method-assign]
        client._sock_recv = self._take  # type: ignore[method-assign]  # noqa: SLF001 - nor one to put it

    def read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Handle the packets that have come; in paho's stead."""
        try:
            chunk = self._read_socket(CHUNK)
        except BlockingIOError:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        except OSError as error:
            self._failure = error
            return self._read_one(max_packets)
        if not chunk:
            self._ended = True
            return self._read_one(max_packets)
        self._unread += chunk
        if len(self._unread) < self._wanted:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        data = bytes(self._unread)
        at, result, is_first = 0, MQTTErrorCode.MQTT_ERR_SUCCESS, True
        while (end := packet_end(data, at)) <= len(data):
            message = None if is_first else plain_message(data, at, end)
            is_first = False
            if message is not None:
                self._receive(message)
            else:
                self._given = memoryview(data)[at:end]
                result = self._read_one(max_packets)
            at = end
            if result != MQTTErrorCode.MQTT_ERR_SUCCESS:
                break
        self._wanted = end - at
        del self._unread[:at]
        return result

    def _take(self, bufsize: int) -> bytes:
        """What paho reads from: the packet that it is given."""
        if self._failure is not None:
            raise self._failure
        if self._ended:
            return b""
        if not self._given:
            raise BlockingIOError
        taken, self._given = bytes(self._given[:bufsize]), self._given[bufsize:]
        return taken


def packet_end(data: bytes, at: int) -> int:
    """Where the packet ends that begins at `at`: behind what is there if not all of it has come.

    A length that MQTT does not know ends where paho sees that it is wrong, and ends the connection.
    """
    length = shift = 0
    for place in range(at + 1, min(at + LONGEST_HEAD, len(data))):
        length |= (data[place] & 0x7F) << shift
        shift += 7
        if data[place] < 0x80:
            return place + 1 + length
    return len(data) + 1 if len(data) <= at + LONGEST_HEAD else at + LONGEST_HEAD + 1


def plain_message(data: bytes, at: int, end: int) -> aiomqtt.Message | None:
    """The message in a packet, if it is a PUBLISH at QoS 0 with a topic that can be read; else None."""
    kind = data[at]
    if kind not in (PUBLISH, RETAINED):
        return None
    at += 2
    while data[at - 1] > 0x7F:
        at += 1
    content = at + 2 + int.from_bytes(data[at : at + 2])
    if content > end:
        return None
    try:
        return aiomqtt.Message(data[at + 2 : content].decode(), data[content:end], 0, kind == RETAINED, 0, None)
    except (UnicodeDecodeError, ValueError):
        return None


def plain_packets(messages: Iterable[Publish]) -> bytes:
    """Packets of messages at QoS 0, one behind the other."""
    parts: list[bytes] = []
    for message in messages:
        topic = message.topic.encode()
        content = len(topic).to_bytes(2) + topic
        parts += (head(RETAINED if message.retain else PUBLISH, len(content) + len(message.payload)), content)
        parts.append(message.payload)
    return b"".join(parts)


def head(kind: int, length: int) -> bytes:
    """A packet's head, of a content of so many bytes."""
    made = bytearray([kind])
    while True:
        length, low = divmod(length, 128)
        made.append(low | (0x80 if length else 0))
        if not length:
            return bytes(made)
