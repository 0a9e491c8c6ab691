"""The cloud's connections to the broker: address and account from the settings, messages handed over at once.

Used by `lms_cloud.telemetry.ingest.worker` and by `lms_cloud.live.hub`.
"""

import asyncio
import logging
import secrets
import ssl
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple, Self, cast
from urllib.parse import unquote, urlsplit

import aiomqtt
from lms_protocol.messages import Publish

from lms_cloud.kernel.errors import SettingsError
from lms_cloud.kernel.settings import CloudSettings
from lms_cloud.telemetry.broker_packets import PUBLISH, PacketReader, plain_packets

KEEPALIVE_S = 15
TIMEOUT_S = 10
PORTS = {"mqtt": 1883, "mqtts": 8883}

_quiet = logging.getLogger("lms_cloud.telemetry.broker.client")
_quiet.setLevel(logging.ERROR)


class Handover(asyncio.Queue[aiomqtt.Message]):
    """Stands where aiomqtt has its queue, and gives each message to a function instead of keeping it.

    aiomqtt's own way costs a task per message, which is more than all that ingest does with one.
    """

    def __init__(self, receive: Callable[[aiomqtt.Message], None]) -> None:
        super().__init__()
        self._receive = receive

    def put_nowait(self, item: aiomqtt.Message) -> None:
        """Hand the message over."""
        self._receive(item)


class BrokerClient(aiomqtt.Client):
    """A client of the broker; see `open_client`."""

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            aiomqtt.MqttError: there is no connection, or none any more.
        """
        ended = self._disconnected
        await super().__aenter__()
        if ended.done():  # with the broker's first answer; aiomqtt takes that for the end of an earlier connection
            await self.__aexit__(None, None, None)
            raise aiomqtt.MqttError("the connection ended as soon as it was there") from ended.exception()
        return self

    async def publish_all(self, messages: Sequence[Publish]) -> None:
        """Publish messages in order: those at QoS 0 together, which costs a hundredth of one by one.

        Raises:
            aiomqtt.MqttError: the connection is gone, or the broker takes nothing; some may be on their way.
        """
        for is_plain, some in groupby(messages, lambda message: message.qos == 0):
            *others, last = some
            if is_plain and others:
                # Paho writes it as it is. What comes behind it is written after it, and waited for.
                self._client._packet_queue(PUBLISH, plain_packets(others), 0, qos=1)  # noqa: SLF001
                others = []
            for message in (*others, last):
                await self.publish(message.topic, message.payload, message.qos, message.retain)


class BrokerAddress(NamedTuple):
    """Where the broker is, and as whom to go there."""

    host: str
    port: int
    account: str | None
    password: str | None
    is_tls: bool


def broker_address(settings: CloudSettings) -> BrokerAddress:
    """The broker that the settings name.

    Raises:
        SettingsError: LMS_MQTT_URL is missing or is no broker's address.
    """
    remedy = "It is: mqtt://account@host:port or mqtts://account@host:port."
    if settings.mqtt_url is None:
        raise SettingsError("LMS_MQTT_URL", "is missing", remedy)
    try:
        url = urlsplit(settings.mqtt_url)
        port = url.port
    except ValueError as error:
        raise SettingsError("LMS_MQTT_URL", f"is not a broker's address ({error})", remedy) from error
    if url.scheme not in PORTS or not url.hostname:
        raise SettingsError("LMS_MQTT_URL", "is not a broker's address", remedy)
    password = unquote(url.password) if url.password else None
    if settings.mqtt_password is not None:
        password = settings.mqtt_password.get_secret_value()
    account = unquote(url.username) if url.username else None
    return BrokerAddress(url.hostname, port or PORTS[url.scheme], account, password, url.scheme == "mqtts")


def open_client(
    settings: CloudSettings,
    *,
    name: str,
    receive: Callable[[aiomqtt.Message], None],
    will: aiomqtt.Will | None = None,
) -> BrokerClient:
    """A client that is not connected yet: `async with` it, then `async for` over its messages waits for its end.

    Args:
        settings: where the broker is, and as whom to go there.
        name: begins the client id, which is unique.
        receive: called with each message, in the event loop; must not raise.
        will: what the broker publishes if this client vanishes.

    Raises:
        SettingsError: LMS_MQTT_URL is missing or is no broker's address.
    """
    address = broker_address(settings)
    context = None
    if address.is_tls:
        context = ssl.create_default_context(cafile=settings.mqtt_ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    client = BrokerClient(
        address.host,
        address.port,
        username=address.account,
        password=address.password,
        identifier=f"{name}-{secrets.token_hex(6)}",
        logger=_quiet,
        # aiomqtt calls it with `maxsize`; a class is what its annotation wants, a callable all it needs.
        queue_type=cast("type[asyncio.Queue[aiomqtt.Message]]", lambda maxsize: Handover(receive)),
        will=will,
        clean_session=True,
        timeout=TIMEOUT_S,
        keepalive=KEEPALIVE_S,
        tls_context=context,
    )
    PacketReader(client._client, receive)  # noqa: SLF001 - of a class of ours
    return client
