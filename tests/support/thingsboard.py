"""The peer of the agent's benchmark: ThingsBoard's IoT gateway, as PyPI has it, in an environment of its own.

It polls the same simulated unit, keeps what it read in SQLite, and publishes to the same broker. It is spared what the
work does not ask for: statistics, remote shell and configuration, limits of rate, words in its logs below a warning.
Its libraries clash with ours (pymodbus 3.9, protobuf), and its connector would install them by itself at its first
start, so `environment` makes a virtual environment under `.tools`, once.

Source: thingsboard.io/docs/iot-gateway/configuration and …/config/modbus; the files in its package's `config` folder.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from lms_firmware_sim.stand import broker_access
from lms_firmware_sim.stand.programs import plain_environment

HOME = Path(__file__).parents[2] / ".tools" / "thingsboard-gateway"
PACKAGES = ("thingsboard-gateway==3.8.5", "pymodbus==3.9.2", "pyserial==3.5", "pyserial-asyncio==0.6")
DEVICE = "R1"
TELEMETRY = "v1/gateway/telemetry"
LIMITS = (
    "rateLimits",
    "dpRateLimits",
    "messagesRateLimits",
    "deviceMessagesRateLimits",
    "deviceRateLimits",
    "deviceDpRateLimits",
)


class CannotBeHad(Exception):
    """Its packages cannot be installed on this machine; says why."""


def environment(home: Path = HOME) -> Path:
    """The Python of an environment that has the gateway; makes it if it is not there yet.

    Raises:
        CannotBeHad: pip could not install it.
    """
    python = home / "bin" / "python"
    made_from = home / "made-from"
    wanted = "\n".join(PACKAGES)
    if not made_from.exists() or made_from.read_text() != wanted:
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(home)],
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES],
        ):
            answer = subprocess.run(command, capture_output=True, text=True, check=False)
            if answer.returncode != 0:
                reason = (answer.stderr or answer.stdout).strip().splitlines()[-1:]
                raise CannotBeHad(f"{PACKAGES[0]} cannot be installed: {' '.join(reason)}")
        made_from.write_text(wanted)
    return python


def account(name: str, password: str) -> broker_access.Account:
    """An account that may do on the broker what a gateway does on a ThingsBoard server."""
    return broker_access.Account(name, password, ("v1/#",), ("v1/#",))


def command(python: Path) -> list[str | Path]:
    """The command line that starts it, in a folder that `configure` has filled."""
    return [python, "-c", "from thingsboard_gateway.tb_gateway import main; main()"]


def surroundings(folder: Path) -> Mapping[str, str]:
    """Its environment variables: where its configuration lies, and no way out to the service that knows of updates."""
    closed = "http://127.0.0.1:9"
    return {**plain_environment(), "TB_GW_CONFIG_DIR": str(folder), "HTTPS_PROXY": closed, "https_proxy": closed}


def configure(
    folder: Path, *, user: broker_access.Account, broker_port: int, modbus_port: int, tags: int, period_s: float
) -> None:
    """Write its configuration: floats at the addresses 0, 2, 4 … of unit 1, `T1/PV` and so on."""
    files = {
        "tb_gateway.json": _main(user, broker_port, folder),
        "modbus.json": _modbus(modbus_port, tags, period_s),
        "logs.json": _logs(),
    }
    folder.mkdir(parents=True)
    (folder / "logs").mkdir()
    (folder / "data").mkdir()
    for name, content in files.items():
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(json.dumps(content, indent=1))


def _main(user: broker_access.Account, broker_port: int, folder: Path) -> dict[str, object]:
    unlimited = dict.fromkeys(LIMITS, "0:0,")
    return {
        "thingsboard": {
            "host": "127.0.0.1",
            "port": broker_port,
            "remoteShell": False,
            "remoteConfiguration": False,
            "statistics": {"enable": False, "enableCustom": False},
            "deviceFiltering": {"enable": False},
            "checkingDeviceActivity": {"checkDeviceInactivity": False},
            "maxPayloadSizeBytes": 65535,
            "minPackSendDelayMS": 50,
            "minPackSizeToSend": 500,
            "qos": 1,
            "reportStrategy": {"type": "ON_RECEIVED"},
            "security": {"type": "usernamePassword", "username": user.name, "password": user.password},
            **unlimited,
        },
        "storage": {"type": "sqlite", "data_file_path": f"{folder}/data/", "max_read_records_count": 1000},
        "grpc": {"enabled": False},
        "connectors": [{"type": "modbus", "name": "line", "configuration": "modbus.json"}],
    }


def _modbus(port: int, tags: int, period_s: float) -> dict[str, object]:
    slave = {
        "host": "127.0.0.1",
        "port": port,
        "type": "tcp",
        "method": "socket",
        "unitId": 1,
        "deviceName": DEVICE,
        "deviceType": "default",
        "timeout": 1,
        "byteOrder": "BIG",
        "wordOrder": "BIG",
        "pollPeriod": round(1000 * period_s),
        "attributes": [],
        "timeseries": [
            {"tag": f"T{tag + 1}/PV", "type": "32float", "functionCode": 3, "objectsCount": 2, "address": 2 * tag}
            for tag in range(tags)
        ],
        "attributeUpdates": [],
        "rpc": [],
    }
    return {"logLevel": "WARNING", "master": {"slaves": [slave]}}


def _logs() -> dict[str, object]:
    words = {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}
    names = ("service", "storage", "connector", "converter", "tb_connection", "database", "extension")
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"words": words},
        "root": {"level": "ERROR", "handlers": ["words"]},
        "loggers": {name: {"level": "WARNING", "handlers": ["words"], "propagate": False} for name in names},
    }
