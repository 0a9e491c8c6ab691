"""The peer of the agent's benchmark: the plainest gateway that does the same work with the same libraries.

It polls 50 floats with pymodbus, commits each scan to SQLite (WAL, FULL), and publishes it with paho-mqtt as JSON. It
checks nothing, sends nothing again, and knows no quality: what remains is what the work itself costs in Python.
Usage: bare_gateway.py MODBUS_PORT BROKER_PORT ACCOUNT PASSWORD_FILE TOPIC DATABASE PERIOD_S
"""

import json
import sqlite3
import sys
import time
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from pymodbus.client import ModbusTcpClient

TAGS = 50


def main(*arguments: str) -> None:
    """Poll, keep and publish, until killed."""
    modbus_port, broker_port, account, password_file, topic, path, period_s = arguments
    modbus = ModbusTcpClient("127.0.0.1", port=int(modbus_port))
    modbus.connect()
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set(account, Path(password_file).read_text())
    client.connect("127.0.0.1", int(broker_port))
    client.loop_start()
    log = sqlite3.connect(path, isolation_level=None)
    log.execute("PRAGMA journal_mode = WAL")
    log.execute("PRAGMA synchronous = FULL")
    log.execute("CREATE TABLE scans (taken_at_ms INTEGER, record TEXT)")
    due_s = time.monotonic()
    while True:
        registers = modbus.read_holding_registers(0, count=2 * TAGS, device_id=1).registers
        values = modbus.convert_from_registers(registers, modbus.DATATYPE.FLOAT32)
        now_ms = time.time_ns() // 1_000_000
        record = json.dumps({f"T{tag + 1}/PV": [now_ms, value] for tag, value in enumerate(values)})
        log.execute("INSERT INTO scans VALUES (?, ?)", (now_ms, record))
        client.publish(topic, record)
        due_s += float(period_s)
        time.sleep(max(0.0, due_s - time.monotonic()))


if __name__ == "__main__":
    main(*sys.argv[1:])
