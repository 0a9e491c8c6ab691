"""The peer of the agent's benchmark: ThingsBoard's IoT gateway, as PyPI has it, in an environment of its own.

It polls the same simulated unit, keeps what it read in SQLite, and publishes to the same broker: configured as its
package ships it, with a request for each tag as its manual has it; or tuned by hand, without statistics, limits of rate
and words, and with one request for all tags. In neither does it ask a server for its configuration, for there is none.
Its libraries clash with ours (pymodbus 3.9, protobuf), and its connector would install them by itself at its first
start, so `environment` makes a virtual environment under `.tools`, once.

Source: thingsboard.io/docs/iot-gateway/configuration and …/config/modbus; the files in its package's `config` folder.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    folder: Path,
    *,
    user: broker_access.Account,
    broker_port: int,
    modbus_port: int,
    tags: int,
    period_s: float,
    tuned: bool,
) -> None:
    """Write its configuration: floats at the addresses 0, 2, 4 … of unit 1, `T1/PV` and so on."""
    main, logs = _shipped("tb_gateway.json"), _shipped("logs.json")
    main["thingsboard"] |= {
        "host": "127.0.0.1",
        "port": broker_port,
        "remoteConfiguration": False,
        "security": {"type": "usernamePassword", "username": user.name, "password": user.password},
    }
    main["storage"] = {"type": "sqlite", "data_file_path": f"{folder}/data/"}
    main["connectors"] = [{"type": "modbus", "name": "line", "configuration": "modbus.json"}]
    if tuned:
        main["thingsboard"] |= {"statistics": {"enable": False, "enableCustom": False}, "maxPayloadSizeBytes": 65535}
        main["thingsboard"] |= dict.fromkeys(LIMITS, "0:0,")
        logs["loggers"] = {name: {"level": "ERROR"} for name in logs["loggers"]}
    files = {
        "tb_gateway.json": main,
        "modbus.json": _modbus(modbus_port, tags, period_s, block=tuned),
        "logs.json": logs,
    }
    folder.mkdir(parents=True)
    (folder / "logs").mkdir()
    (folder / "data").mkdir()
    for name, content in files.items():
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(json.dumps(content, indent=1))


def _shipped(name: str) -> dict[str, Any]:
    """One of the files that its package brings."""
    (path,) = HOME.glob(f"lib/python*/site-packages/thingsboard_gateway/config/{name}")
    shipped: dict[str, Any] = json.loads(path.read_text())
    return shipped


def _modbus(port: int, tags: int, period_s: float, *, block: bool) -> dict[str, object]:
    # One request for all, with tags that are named for their address; or one for each, as its manual has it.
    points: list[dict[str, object]] = (
        [{"tag": "T${address}", "address": f"0-{2 * tags - 1}", "maxRegistersPerRequest": 2 * tags}]
        if block
        else [{"tag": f"T{tag + 1}/PV", "address": 2 * tag} for tag in range(tags)]
    )
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
        "timeseries": [{"type": "32float", "functionCode": 3, "objectsCount": 2, **point} for point in points],
        "attributeUpdates": [],
        "rpc": [],
    }
    return {"master": {"slaves": [slave]}}
