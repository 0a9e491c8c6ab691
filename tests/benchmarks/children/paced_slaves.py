"""Modbus RTU slaves on a pseudo-terminal that keep the times of a real line, as exactly as the computer can wait.

A reply ends when it would have ended on the wire: the request's characters, 3.5 characters of silence, the reply's
characters after the request began. Nothing else is waited for: these slaves think in no time at all.

A unit beyond the last is silent.

Usage: paced_slaves.py BAUD SLAVES; says the terminal's path, then serves until it is ended.
"""

import os
import struct
import sys
import time
import tty
from functools import cache

BITS = 10  # 8N1
REQUEST = 8


def crc16(data: bytes) -> bytes:
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return crc.to_bytes(2, "little")


@cache
def answer(unit: int, function: int, count: int) -> bytes:
    body = bytes((unit, function, 2 * count)) + struct.pack(f">{count}H", *range(count))
    return body + crc16(body)


def main(baud: int, slaves: int) -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    print(os.ttyname(slave), flush=True)
    character_s = BITS / baud
    silence_s = max(3.5 * character_s, 0.00175)
    request = b""
    while True:
        request += os.read(master, 256)
        if len(request) < REQUEST:
            continue
        began_s = time.monotonic()
        assert request[:6] + crc16(request[:6]) == request
        unit, function, count = request[0], request[1], int.from_bytes(request[4:6])
        request = b""
        if unit > slaves:
            continue
        reply = answer(unit, function, count)
        ends_s = began_s + (REQUEST + len(reply)) * character_s + silence_s
        time.sleep(max(0.0, ends_s - time.monotonic()))
        os.write(master, reply)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
