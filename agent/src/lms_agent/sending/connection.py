"""How the agent connects to the broker, and what the broker's refusal means.

MQTT 5 first; a broker that does not know it is asked with 3.1.1. Either way nothing is kept on the broker between
connections (clean start, no session expiry): the log remembers.

Neighbours: `lms_agent.sending.sender` opens connections; `aiomqtt` moves the bytes.
"""

import asyncio
import os
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from aiomqtt import Client, MqttCodeError, MqttError, ProtocolVersion, Will
from aiomqtt.exceptions import MqttConnectError
from lms_protocol.messages import Publish
from paho.mqtt.reasoncodes import ReasonCode

from lms_agent.sending.errors import (
    BrokerError,
    BrokerFileUnreadable,
    BrokerLost,
    BrokerRefused,
    BrokerUnreachable,
    BrokerUntrusted,
)

KEEPALIVE_S = 15
"""A link that swallows everything is noticed after at most twice this."""
TIMEOUT_S = 10.0
UNSENT_BYTES = 16 * 1024
"""What may wait in the kernel for a slow link: batches queued there could no longer be overtaken by live ones."""

_UNSUPPORTED_VERSION = frozenset({1, 132})
_REMEDIES = {
    3: ("the server is unavailable", "the agent will try again"),
    4: ("wrong account name or password", "check account and password_file in the settings"),
    5: ("it is not authorised", "check account and password_file in the settings, and the account on the broker"),
    133: ("the client id is not allowed", "check the agent's id and group in the settings"),
    134: ("wrong account name or password", "check account and password_file in the settings"),
    135: ("it is not authorised", "check account and password_file in the settings, and the account on the broker"),
    136: ("the server is unavailable", "the agent will try again"),
    137: ("the server is busy", "the agent will try again"),
    138: ("it is banned", "ask the broker's administrator"),
    142: ("another program connected with this agent's id", "give each agent an id of its own"),
}


class Address(NamedTuple):
    """Where the broker is, and as whom to connect.

    Attributes:
        url: as in the settings, for people.
        read_password: called for each connection, so that a new password needs no restart.
        ca_file: certificates to trust instead of the system's; only with TLS.
    """

    url: str
    host: str
    port: int
    tls: bool
    account: str
    read_password: Callable[[], str]
    ca_file: Path | None
    client_id: str


@asynccontextmanager
async def connect(address: Address, will: Publish | None, protocol: ProtocolVersion) -> AsyncIterator[Client]:
    """A connection: closed cleanly if all went well, else dropped, so that the broker publishes `will` (if any).

    Raises:
        BrokerError: it could not be made, or was lost meanwhile (the reason says which).
        UnsupportedVersion: the broker does not know `protocol`.
    """
    client = await _new_client(address, will, protocol)
    try:
        await client.__aenter__()
    except MqttConnectError as error:
        raise explain_refusal(address, error.rc) from error
    except MqttError as error:
        await _abandon(client)
        raise _explain_failure(address, str(error)) from error
    except BaseException:
        await _abandon(client)
        raise
    try:
        yield client
    except MqttError as error:
        await _drop(client)
        raise explain_loss(address, error) from error
    except BaseException:
        await _drop(client)
        raise
    try:
        await client.__aexit__(None, None, None)
    except MqttError:
        await _abandon(client)


class UnsupportedVersion(BrokerError):
    """The broker does not know this version of MQTT."""

    def __init__(self, url: str) -> None:
        super().__init__(url, f"The broker {url} does not know this version of MQTT.")


async def subscribe(client: Client, address: Address, subscriptions: tuple[tuple[str, int], ...]) -> None:
    """Subscribe to all, in one message.

    Raises:
        BrokerRefused: the account may not.
        MqttError: the connection is gone.
    """
    answers = await client.subscribe(list(subscriptions))
    codes = [int(answer.value) if isinstance(answer, ReasonCode) else answer for answer in answers]
    for (topic, _), code in zip(subscriptions, codes, strict=True):
        if code >= 128:
            reason = f"it may not subscribe to {topic}"
            raise BrokerRefused(address.url, address.account, reason, "check the account's access list on the broker")


def explain_refusal(address: Address, code: int | ReasonCode | None) -> BrokerError:
    """What a CONNACK other than "accepted" means."""
    value = code.value if isinstance(code, ReasonCode) else code or 0
    if value in _UNSUPPORTED_VERSION:
        return UnsupportedVersion(address.url)
    reason, remedy = _REMEDIES.get(value, (f"it says: {code}", "look at the broker's log"))
    return BrokerRefused(address.url, address.account, reason, remedy)


def explain_loss(address: Address, error: MqttError) -> BrokerError:
    """What the end of a connection means."""
    cause = error if isinstance(error, MqttCodeError) else error.__cause__
    code = cause.rc if isinstance(cause, MqttCodeError) else None
    value = code.value if isinstance(code, ReasonCode) else None
    if value in _REMEDIES:
        reason, remedy = _REMEDIES[value]
        return BrokerRefused(address.url, address.account, reason, remedy)
    # 128: paho's word for a connection that ended without one.
    return BrokerLost(address.url, "it was closed without a reason" if value == 128 else str(cause or error))


async def _new_client(address: Address, will: Publish | None, protocol: ProtocolVersion) -> Client:
    try:
        password = await asyncio.to_thread(address.read_password)
    except (OSError, UnicodeDecodeError) as error:
        raise BrokerFileUnreadable(address.url, f"the password of {address.account!r}: {error}") from error
    context = await asyncio.to_thread(_context_for, address) if address.tls else None
    version_5 = protocol is ProtocolVersion.V5
    client = Client(
        address.host,
        address.port,
        username=address.account,
        password=password,
        identifier=address.client_id,
        protocol=protocol,
        will=None if will is None else Will(will.topic, will.payload, will.qos, will.retain),
        clean_session=None if version_5 else True,
        clean_start=True,
        timeout=TIMEOUT_S,
        keepalive=KEEPALIVE_S,
        max_queued_incoming_messages=1000,
        tls_context=context,
        socket_options=(
            (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES),
            (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        ),
    )
    client._disconnected.add_done_callback(_look_at)  # noqa: SLF001 - also if it ends after we gave it up
    return client


def _context_for(address: Address) -> ssl.SSLContext:
    try:
        return tls_context(address.ca_file)
    except OSError as error:  # ssl.SSLError is one: a file without certificates in it
        raise BrokerFileUnreadable(address.url, f"the certificates in {address.ca_file}: {error}") from error


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Whom to trust: the authorities in `ca_file`, or those that the system knows.

    Raises:
        OSError: the file cannot be read, or holds no certificate.
    """
    context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = _TidySocket
    return context


class _TidySocket(ssl.SSLSocket):
    """Closed when the handshake fails; paho leaves that to chance."""

    def do_handshake(self, block: bool = False) -> None:
        """The TLS handshake."""
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


def _explain_failure(address: Address, text: str) -> BrokerError:
    if "SSL" in text or "certificate" in text.lower():
        return BrokerUntrusted(address.url, text)
    return BrokerUnreachable(address.url, re.sub(r"^\[Errno -?\d+\] ", "", text))


async def _drop(client: Client) -> None:
    """End the connection without a DISCONNECT: the broker then publishes the will."""
    opened = client._client.socket()  # noqa: SLF001 - aiomqtt only knows how to end politely
    if opened is not None:
        with suppress(OSError), socket.socket(fileno=os.dup(opened.fileno())) as same:
            same.shutdown(socket.SHUT_RDWR)
        for _ in range(100):  # until the event loop has seen it
            if client._disconnected.done():  # noqa: SLF001
                break
            await asyncio.sleep(0.01)
    await client.__aexit__(None, None, None)


def _look_at(ended: "asyncio.Future[None]") -> None:
    """Look at how a connection ended, so that asyncio does not complain that nobody did."""
    if not ended.cancelled():
        ended.exception()


async def _abandon(client: Client) -> None:
    """Close what a failed attempt left open: aiomqtt keeps the socket when the broker's answer does not come."""
    inner = client._client  # noqa: SLF001 - aiomqtt offers no other way
    inner.disconnect()
    for _ in range(3):  # the writing and the closing take the event loop's turns
        await asyncio.sleep(0)
    opened = inner.socket()
    if opened is not None:
        asyncio.get_running_loop().remove_reader(opened.fileno())
        asyncio.get_running_loop().remove_writer(opened.fileno())
        opened.close()
