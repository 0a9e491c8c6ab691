"""An MQTT broker of our own: mosquitto on 127.0.0.1, never anonymous, a role per account, dies with its parent.

Neighbours: ``service`` (what all servers have), ``broker_programs`` (which mosquitto), ``broker_access`` (who may do
what), ``quarters`` (where, as whom).

It keeps nothing on disk but its accounts. What a killed broker had in hand is sent again: agents repeat what is not
acknowledged, and the cloud publishes its retained STATE again when it reconnects.
"""

import json
import os
import queue
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from lms_firmware_sim.stand import broker_access, quarters
from lms_firmware_sim.stand.broker_access import Account
from lms_firmware_sim.stand.broker_programs import BrokerProgram, copied
from lms_firmware_sim.stand.errors import ServiceFailedError
from lms_firmware_sim.stand.service import Service
from lms_firmware_sim.stand.spawning import POLL_S, last_words, spawn

READY_WITHIN_S = 20.0
ANSWER_WITHIN_S = 10.0


class Broker(Service):
    """One mosquitto and its accounts.

    Args:
        wanted: the folder it lives in; it may end up elsewhere when started as root (see ``quarters``).
        program: which mosquitto.
        accounts: who may connect; one of them is ``broker_access.admin``.
        log_path: where its words go.
        port: a given port, or None for a free one, kept over restarts.
    """

    name = "the MQTT broker"
    stopping = ((signal.SIGTERM, 5.0),)
    taken = ("in use",)

    def __init__(
        self,
        wanted: Path,
        program: BrokerProgram,
        accounts: Sequence[Account],
        *,
        log_path: Path,
        port: int | None = None,
    ) -> None:
        super().__init__(wanted, log_path=log_path, port=port)
        self.accounts = {account.name: account for account in accounts}
        if not quarters.reachable(program.program.parent, self.user):
            program = copied(program, self.home / "programs")
        self.program = program
        self._state = quarters.closed_folder(self.home / "state", self.user)

    def url(self, account: str) -> str:
        """``mqtt://name:password@host:port`` for one of its accounts, percent-encoded."""
        secret = quote(self.accounts[account].password, safe="")
        return f"mqtt://{quote(account, safe='')}:{secret}@{self.host}:{self.port}"

    def start(self) -> None:
        """Start it and wait until it takes connections.

        Raises:
            PortBusyError: somebody else has the given port.
            ServiceFailedError: it ended, or did not answer in time.
        """
        self._require_port()
        self._write_access()
        self._start()

    def add(self, account: Account) -> Account:
        """Add an account while the broker runs.

        Raises:
            ServiceFailedError: the broker refused, or did not answer.
        """
        answer = self._control(broker_access.creation(account))
        refused = [response["error"] for response in answer.get("responses", []) if "error" in response]
        if refused:
            raise ServiceFailedError(
                "The broker", f"refused account {account.name}: {'; '.join(refused)}", self.log_path
            )
        self.accounts[account.name] = account
        return account

    def _control(self, commands: dict[str, Any]) -> dict[str, Any]:
        """Send commands to the plugin's control topic and wait for its answer."""
        answers: queue.Queue[dict[str, Any]] = queue.Queue()

        def connected(
            client: mqtt.Client, _data: object, _flags: object, code: ReasonCode, _properties: Properties | None
        ) -> None:
            if not code.is_failure:
                client.subscribe(f"{broker_access.CONTROL_TOPIC}/response", qos=1)

        def subscribed(client: mqtt.Client, _data: object, _mid: int, _codes: object, _properties: object) -> None:
            client.publish(broker_access.CONTROL_TOPIC, json.dumps(commands), qos=1)

        def answered(_client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
            answers.put(json.loads(message.payload))

        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.username_pw_set(broker_access.ADMIN, self.accounts[broker_access.ADMIN].password)
        client.on_connect, client.on_subscribe, client.on_message = connected, subscribed, answered
        client.connect(self.host, self.port)
        client.loop_start()
        try:
            return answers.get(timeout=ANSWER_WITHIN_S)
        except queue.Empty as error:
            reason = f"did not answer a change of accounts within {ANSWER_WITHIN_S:.0f} s"
            raise ServiceFailedError("The broker", reason, self.log_path) from error
        finally:
            client.disconnect()
            client.loop_stop()

    def _write_access(self) -> None:
        """Write the plugin's file: our accounts anew, those that others added kept."""
        path = self._state / "access.json"
        kept = path.read_text() if path.exists() else None
        self._write(path, broker_access.configuration(list(self.accounts.values()), kept))

    def _write(self, path: Path, text: str) -> None:
        fresh = path.with_suffix(".fresh")
        fresh.unlink(missing_ok=True)
        fresh.touch(mode=0o600)
        fresh.write_text(text)
        quarters.own(fresh, self.user)
        fresh.rename(path)

    def _configuration(self) -> str:
        """The broker's own settings, with a bound on everything that a client could make it hoard."""
        return "\n".join(
            [
                f"listener {self.port} {self.host}",
                "allow_anonymous false",
                f"plugin {self.program.plugin}",
                f"plugin_opt_config_file {self._state / 'access.json'}",
                "persistence false",
                "max_packet_size 1048576",
                "max_inflight_messages 100",
                "max_queued_messages 10000",
                "max_queued_bytes 67108864",
                "queue_qos0_messages false",
                "set_tcp_nodelay true",
                # Already another user when it starts (see quarters); as root it would look for one named mosquitto.
                "log_dest stderr",
                "log_type error",
                "log_type warning",
                "log_type notice",
                "log_timestamp_format %Y-%m-%dT%H:%M:%S",
                "",
            ]
        )

    def _launch(self) -> None:
        configuration = self._state / "mosquitto.conf"
        self._write(configuration, self._configuration())
        self._process = spawn(
            [self.program.program, "-c", configuration],
            log_path=self.log_path,
            env={"PATH": os.environ.get("PATH", os.defpath), "TZ": "UTC", **self.program.environment},
            cwd=self.home,
            user=self.user,
        )
        self._wait_until_ready(self._process)

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while not self._accepts():
            if process.poll() is not None:
                raise ServiceFailedError("The broker", "ended while starting", self.log_path, last_words(self.log_path))
            if time.monotonic() > deadline:
                self.stop()
                raise ServiceFailedError("The broker", f"did not listen within {READY_WITHIN_S:.0f} s", self.log_path)
            time.sleep(POLL_S)

    def _accepts(self) -> bool:
        """Whether an account of ours can connect: a listening port alone could be somebody else's."""
        accepted: queue.Queue[bool] = queue.Queue()
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.on_connect = lambda _c, _d, _f, code, _p: accepted.put(not code.is_failure)
        client.username_pw_set(broker_access.ADMIN, self.accounts[broker_access.ADMIN].password)
        try:
            client.connect(self.host, self.port)
        except OSError:
            return False
        client.loop_start()
        try:
            return accepted.get(timeout=ANSWER_WITHIN_S)
        except queue.Empty:
            return False
        finally:
            client.disconnect()
            client.loop_stop()
