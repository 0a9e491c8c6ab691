"""A TCP proxy that breaks what runs through it: slow, held, cut, sliced, half-open, or with MQTT packets taken out.

It runs in the calling event loop and keeps little in its own buffers, so that a slow link holds back who sends. What
is held is not lost: TCP would send it again, too, once the link is back.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeAlias

BUFFER_BYTES = 4096
FROM_SERVER_BYTES = 65_536
"""Of what a server sends, the kernel would keep tens of megabytes for us, and who sends would not feel that we hold."""
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER for a close that sends RST."""

PacketFilter: TypeAlias = Callable[[bytes], Iterable[bytes]]
"""Gets one whole MQTT packet, gives what is sent on in its place."""


@dataclass
class Way:
    """What is done to one direction; may be changed while bytes flow.

    Attributes:
        bytes_per_s: the most that passes; None for no limit.
        slice_bytes: the most that passes in one piece.
        held: nothing passes, and nobody is told.
        cut_after: bytes that still pass before the connection is reset, both ends; happens once, then it is None again.
        hold_at: nothing passes any more from the piece on in which these bytes come; then it is None again.
        packets: looks at each MQTT packet; only where the proxy knows that MQTT runs through it.
        on_bytes: told what passes, before it does; may raise `Cut` to reset the connection instead, and `CutAfter`
            to let it pass and reset the connection before any answer.
    """

    bytes_per_s: float | None = None
    slice_bytes: int = BUFFER_BYTES
    held: bool = False
    cut_after: int | None = None
    hold_at: bytes | None = None
    packets: PacketFilter | None = None
    on_bytes: Callable[[bytes], None] | None = None
    passed: int = 0
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    def release(self) -> None:
        """Let everything pass again."""
        self.held = False
        self.moved.set()


class Cut(Exception):
    """Reset the connection now."""


class CutAfter(Exception):
    """Let this pass, then reset the connection before an answer comes back."""


class TcpProxy:
    """Between clients and the server at host and port.

    Args:
        mqtt: whether MQTT runs through it: whole packets are passed on, and `Way.packets` looks at each.

    Attributes:
        port: where it listens, on 127.0.0.1.
        to_server, to_client: the two directions.
        connections: how many there were.
        refusing: whether new connections are reset at once.
    """

    def __init__(self, port: int, host: str = "127.0.0.1", *, mqtt: bool = False) -> None:
        self._target = (host, port)
        self.mqtt = mqtt
        self.port = 0
        self.to_server = Way()
        self.to_client = Way()
        self.connections = 0
        self.refusing = False
        self._links: set[_Link] = set()

    @asynccontextmanager
    async def run(self) -> AsyncIterator["TcpProxy"]:
        """Listen; at the end every connection is closed."""
        listening = socket.create_server(("127.0.0.1", self.port), backlog=1024)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        server = await asyncio.start_server(self._accept, sock=listening, limit=BUFFER_BYTES)
        self.port = listening.getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for link in list(self._links):
                await link.end()

    def reset(self) -> int:
        """Reset every connection, at both ends; how many there were."""
        links = list(self._links)
        for link in links:
            link.reset()
        return len(links)

    def forget_server_ends(self) -> int:
        """Close the servers' ends and tell the clients nothing: half-open connections. How many there were."""
        for link in self._links:
            link.forget_server_end()
        return len(self._links)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            _reset(writer)
            return
        self.connections += 1
        try:
            other_reader, other_writer = await self._connect()
        except OSError:
            _reset(writer)
            return
        link = _Link(self, (reader, writer), (other_reader, other_writer))
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)

    async def _connect(self) -> "Stream":
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, FROM_SERVER_BYTES)  # has to be said before it connects
        server.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(server, self._target)
        except BaseException:
            server.close()
            raise
        return await asyncio.open_connection(sock=server, limit=BUFFER_BYTES)


Stream: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Link:
    """One connection through the proxy."""

    def __init__(self, proxy: TcpProxy, client: Stream, server: Stream) -> None:
        self._client, self._server = client, server
        self._mqtt = proxy.mqtt
        self._half_open = False
        self._mute = False
        self._ways = (
            asyncio.ensure_future(self._pump(proxy.to_server, client[0], server[1])),
            asyncio.ensure_future(self._pump(proxy.to_client, server[0], client[1])),
        )
        for _, writer in (client, server):
            writer.transport.set_write_buffer_limits(high=BUFFER_BYTES)
            opened = writer.get_extra_info("socket")
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)

    async def run(self) -> None:
        await asyncio.wait(self._ways, return_when=asyncio.FIRST_COMPLETED)
        if self._half_open:  # the client goes on talking, to nobody
            with suppress(OSError):
                while await self._client[0].read(BUFFER_BYTES):
                    pass
        await self.end()

    async def end(self) -> None:
        for way in self._ways:
            way.cancel()
        await asyncio.wait(self._ways)
        for _, writer in (self._client, self._server):
            writer.close()

    def reset(self) -> None:
        _reset(self._client[1])
        _reset(self._server[1])
        for way in self._ways:
            way.cancel()

    def forget_server_end(self) -> None:
        self._half_open = True
        _reset(self._server[1])
        for way in self._ways:
            way.cancel()

    async def _pump(self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        packets = _Packets()
        try:
            while data := await reader.read(BUFFER_BYTES):
                if self._mqtt:
                    data = b"".join(each for packet in packets.feed(data) for each in _through(way.packets, packet))
                while data:
                    if way.hold_at is not None and way.hold_at in data:
                        way.held, way.hold_at = True, None
                    while way.held:
                        way.moved.clear()
                        await way.moved.wait()
                    piece, data = data[: way.slice_bytes], data[way.slice_bytes :]
                    if way.cut_after is not None:
                        if len(piece) > way.cut_after:
                            writer.write(piece[: way.cut_after])
                            way.cut_after = None
                            await asyncio.sleep(0)  # sent before the connection is reset
                            self.reset()
                            return
                        way.cut_after -= len(piece)
                    if way.on_bytes is not None:
                        way.on_bytes(piece)
                    if self._mute:
                        return
                    writer.write(piece)
                    await writer.drain()
                    way.passed += len(piece)
                    if way.bytes_per_s is not None:
                        await asyncio.sleep(len(piece) / way.bytes_per_s)
        except Cut:
            self.reset()
        except CutAfter:
            self._mute = True
            writer.write(piece)
            await asyncio.sleep(0.5)
            self.reset()
        except OSError:
            return


class _Packets:
    """Cuts a stream into MQTT packets: type, length in one to four bytes of seven bits, content."""

    def __init__(self) -> None:
        self._partial = bytearray()

    def feed(self, data: bytes) -> Iterable[bytes]:
        self._partial += data
        while (size := _size(self._partial)) is not None and len(self._partial) >= size:
            packet = bytes(self._partial[:size])
            del self._partial[:size]
            yield packet


def _size(data: bytearray) -> int | None:
    length = 0
    for position in range(1, min(len(data), 5)):
        length |= (data[position] & 0x7F) << (7 * (position - 1))
        if not data[position] & 0x80:
            return 1 + position + length
    return None


def _through(packets: PacketFilter | None, packet: bytes) -> Iterable[bytes]:
    return (packet,) if packets is None else packets(packet)


def _reset(writer: asyncio.StreamWriter) -> None:
    opened = writer.get_extra_info("socket")
    with suppress(OSError):
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
