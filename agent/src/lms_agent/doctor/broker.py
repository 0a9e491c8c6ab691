"""The broker: its name, the way to it, its certificate, and whether it takes the account.

In this order, and no further than the first that fails. The account is tried only while no agent runs, and under a
client id of its own: the same one would throw the agent out.
"""

import asyncio
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import suppress

from aiomqtt import ProtocolVersion

from lms_agent.doctor.finding import Finding, bad, good, note, unknown
from lms_agent.sending.connection import Address, UnsupportedVersion, connect, tls_context
from lms_agent.sending.errors import BrokerError, BrokerFileUnreadable, BrokerRefused
from lms_agent.settings.model import BrokerSection

WAIT_S = 5.0
WARN_DAYS = 21
_DAY_S = 86_400
_REMEDIES = {
    9: "it is not valid yet: check this computer's date first",
    10: "check this computer's date; if that is right, the broker needs a new certificate",
    18: "it vouches for itself: name it in `ca_file`, if you know it to be the broker's",
    19: "name the certificate of its authority in `ca_file`",
    20: "name the certificate of its authority in `ca_file`, or install it on this computer",
    62: "the certificate is for another name: check the host in the broker's `url`",
    64: "the certificate is for another address: use the broker's name in `url`",
}
"""By OpenSSL's number of what was wrong; X509_V_ERR_… in verify(1)."""


async def broker(broker: BrokerSection, address: Address, *, try_account: bool) -> AsyncIterator[Finding]:
    """Every step of the way.

    Args:
        address: of the agent; the client id is changed here.
        try_account: whether to log in.
    """
    reached = await _reach(broker)
    yield reached
    if not reached.state.is_well:
        return
    if broker.tls:
        trusted = await _trust(broker)
        yield trusted
        if not trusted.state.is_well:
            return
    if try_account:
        yield await _log_in(address._replace(client_id=f"{address.client_id}.doctor"))


async def _reach(broker: BrokerSection) -> Finding:
    place = f"{broker.host}:{broker.port}"
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(WAIT_S):
            await loop.getaddrinfo(broker.host, broker.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError) as error:
        said = getattr(error, "strerror", None) or "no answer"
        remedy = "check the name in `url`, the network, and `/etc/resolv.conf`"
        return bad("broker", f"the name {broker.host} is not known ({said})", remedy)
    try:
        async with asyncio.timeout(WAIT_S):
            _, writer = await asyncio.open_connection(broker.host, broker.port)
    except TimeoutError:
        return bad("broker", f"{place} does not answer within {WAIT_S:g} s", "check network and firewall on the way")
    except OSError as error:
        said = os.strerror(error.errno) if error.errno else str(error)
        return bad(
            "broker", f"{place} takes no connection ({said})", "check the port in `url`, and whether the broker runs"
        )
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return good("broker", f"{place} takes a connection")


async def _trust(broker: BrokerSection) -> Finding:
    try:
        context = await asyncio.to_thread(tls_context, broker.ca_file)
    except OSError as error:
        return bad(
            "certificate", f"{broker.ca_file} cannot be used ({error})", "name a file with certificates in PEM form"
        )
    try:
        async with asyncio.timeout(WAIT_S):
            _, writer = await asyncio.open_connection(broker.host, broker.port, ssl=context)
    except ssl.SSLCertVerificationError as error:
        remedy = _REMEDIES.get(error.verify_code, "check `url` and `ca_file`")
        return bad("certificate", f"the broker's is not to be trusted: {error.verify_message}", remedy)
    except (OSError, TimeoutError) as error:
        said = str(error) or f"no answer within {WAIT_S:g} s"
        return bad(
            "certificate",
            f"no TLS with {broker.host}:{broker.port} ({said})",
            "is it the broker's TLS port? Else `mqtt://`",
        )
    shown = writer.get_extra_info("peercert") or {}
    writer.close()
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(WAIT_S):
            await writer.wait_closed()
    return _valid_for(str(shown.get("notAfter", "")))


def _valid_for(ends: str) -> Finding:
    days = (ssl.cert_time_to_seconds(ends) - time.time()) / _DAY_S
    said = f"the broker's is trusted, and valid for {days:.0f} days more"
    if days < WARN_DAYS:
        return note("certificate", said, "let the broker's administrator renew it")
    return good("certificate", said)


async def _log_in(address: Address) -> Finding:
    for protocol in (ProtocolVersion.V5, ProtocolVersion.V311):
        try:
            async with connect(address, None, protocol):
                return good("broker account", f"the broker takes {address.account}")
        except UnsupportedVersion:
            continue
        except BrokerRefused as error:
            if "client id" in error.reason:
                return unknown(
                    "broker account", f"the broker takes no client id but the agent's; {address.account} was not tried"
                )
            return bad(
                "broker account",
                f"the broker refuses {address.account}: {error.reason}",
                "check `account` and `password_file`",
            )
        except BrokerFileUnreadable as error:
            remedy = "look as the account that the agent runs as: `sudo -u lms-agent lms-agent doctor`"
            return unknown("broker account", f"{address.account} was not tried: {error.reason}", remedy)
        except BrokerError as error:
            return bad("broker account", str(error).rstrip("."), "look at the broker's log")
    return bad("broker account", "the broker speaks neither MQTT 5 nor 3.1.1", "use another broker")
