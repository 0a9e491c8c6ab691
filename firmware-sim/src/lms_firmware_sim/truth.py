"""The true state on the broker, once a second: what no instrument shows, for teaching and for checking estimates.

Topic `lms/sim/{bioreactor}/truth`, JSON with the units in the names, QoS 0, not retained.
"""

import asyncio
import json
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import aiomqtt

from lms_firmware_sim.errors import SimulatorError
from lms_firmware_sim.simulated import SimulatedPlant

PERIOD_S = 1.0
_RETRY_FIRST_S, _RETRY_LAST_S = 1.0, 30.0


class TruthAddressError(SimulatorError):
    """The broker's address or password file cannot be used.

    Attributes:
        what: the address or file.
        reason: what is wrong with it.
    """

    def __init__(self, what: str, reason: str) -> None:
        self.what = what
        self.reason = reason
        super().__init__(f"{what}: {reason}.")


@dataclass(frozen=True, slots=True)
class TruthFeed:
    """Where to publish.

    Attributes:
        url: `mqtt://account@host:port` or `mqtts://…`.
        password_file: holds the account's password.
    """

    url: str
    password_file: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what can never work, before anything is served.

        Raises:
            TruthAddressError: the address or the password file cannot be used.
        """
        parts = urlsplit(self.url)
        if parts.password is not None:
            raise TruthAddressError("The broker's address", "a password belongs in --mqtt-password-file")
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise TruthAddressError(self.url, "allowed is mqtt://account@host:port or mqtts://account@host:port")
        self._password()

    async def run(self, simulated: SimulatedPlant) -> None:
        """Publish until cancelled; a broker that is away is tried again, ever more rarely."""
        retry_s = _RETRY_FIRST_S
        while True:
            try:
                async with self._client() as client:
                    retry_s = _RETRY_FIRST_S
                    while True:
                        await self._publish(client, simulated)
                        await _pause(client)
            except (aiomqtt.MqttError, TruthAddressError) as error:
                print(f"truth feed: {error}; again in {retry_s:g} s", file=sys.stderr, flush=True)  # noqa: T201 - log
            await asyncio.sleep(retry_s)
            retry_s = min(_RETRY_LAST_S, 2.0 * retry_s)

    async def _publish(self, client: aiomqtt.Client, simulated: SimulatedPlant) -> None:
        simulated.advance()
        for name, bioreactor in simulated.bioreactors.items():
            truth = {key: round(value, 6) for key, value in bioreactor.truth().items()}
            payload = json.dumps({"at_ms": round(bioreactor.at_s * 1000.0), **truth})
            await client.publish(f"lms/sim/{name}/truth", payload, qos=0)

    def _client(self) -> aiomqtt.Client:
        parts = urlsplit(self.url)
        is_secure = parts.scheme == "mqtts"
        return aiomqtt.Client(
            parts.hostname or "",
            parts.port or (8883 if is_secure else 1883),
            username=unquote(parts.username) if parts.username else None,
            password=self._password(),
            tls_params=aiomqtt.TLSParameters() if is_secure else None,
        )

    def _password(self) -> str | None:
        if self.password_file is None:
            return None
        try:
            return self.password_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise TruthAddressError(str(self.password_file), error.strerror or str(error)) from error


async def _pause(client: aiomqtt.Client) -> None:
    """Wait a period; nothing is subscribed, but waiting for messages is how a lost connection shows at once."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PERIOD_S):
            async for _ in client.messages:
                pass
