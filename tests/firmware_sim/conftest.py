"""What the simulator's tests share: cultivations, the demo plant, raw serial lines, the program itself."""

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from lms_firmware_sim.plants import load_plant, shipped_plants
from lms_firmware_sim.process.bioreactor import Cultivation, SimulatedBioreactor
from lms_firmware_sim.process.controller import SetPoints
from lms_firmware_sim.process.strains import E_COLI
from lms_firmware_sim.process.vessels import Recipe, Vessel
from support.patience import PATIENCE_S, awaiting


@pytest.fixture
def cultivation():
    """Makes a description of a 5 L cultivation, inoculated at second 0; keywords change the recipe or the whole."""

    def make(*, recipe=None, **changes) -> Cultivation:
        settings = {
            "strain": E_COLI,
            "vessel": Vessel(7.5, 1200.0, 12.0),
            "recipe": Recipe(start_l=4.5, **(recipe or {})),
            "set_points": SetPoints(7.0, 30.0, 37.0, 300.0, 5.0),
            "cascade": "agitation",
            "seed": 1,
            "inoculated_at_s": 0.0,
        }
        return Cultivation(**(settings | changes))

    return make


@pytest.fixture
def bioreactor(cultivation):
    """Makes a bioreactor of such a cultivation."""

    def make(**changes) -> SimulatedBioreactor:
        return SimulatedBioreactor(cultivation(**changes))

    return make


@pytest.fixture
def demo_plant():
    """The plant that the demonstration shows."""
    return load_plant(shipped_plants()["demo"])


class RawLine:
    """A serial line opened by nothing but the operating system: bytes in, bytes out."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self._received = bytearray()
        self._arrived = asyncio.Event()
        asyncio.get_running_loop().add_reader(self.descriptor, self._read)
        self.hung_up = asyncio.Event()

    def _read(self) -> None:
        try:
            data = os.read(self.descriptor, 4096)
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self.descriptor)
            self.hung_up.set()
        self._received += data
        self._arrived.set()

    def write(self, data: bytes) -> None:
        os.write(self.descriptor, data)

    async def read(self, size: int, within_s: float = PATIENCE_S) -> bytes:
        """Exactly so many bytes."""
        async with awaiting(lambda: f"{size} bytes, of which there are {bytes(self._received)!r}", within_s):
            while len(self._received) < size:
                self._arrived.clear()
                await self._arrived.wait()
        data = bytes(self._received[:size])
        del self._received[:size]
        return data

    async def read_line(self) -> bytes:
        """All bytes up to and with the next line feed."""
        async with awaiting(lambda: f"a line, of which there is {bytes(self._received)!r}"):
            while b"\n" not in self._received:
                self._arrived.clear()
                await self._arrived.wait()
        return await self.read(self._received.index(b"\n") + 1)

    @property
    def unread(self) -> bytes:
        return bytes(self._received)

    def close(self) -> None:
        if not self.hung_up.is_set():
            asyncio.get_running_loop().remove_reader(self.descriptor)
        os.close(self.descriptor)


@pytest.fixture
async def raw_line():
    """Opens raw lines and closes them afterwards."""
    lines = []

    def open_line(path: str) -> RawLine:
        lines.append(RawLine(path))
        return lines[-1]

    yield open_line
    for line in lines:
        line.close()


@pytest.fixture
def lms_sim():
    """Runs `lms-sim` as a program: `await lms_sim("plants")` gives (code, output, errors)."""

    async def run(*arguments: str | Path) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "lms_firmware_sim",
            *map(str, arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        return process.returncode, output.decode(), errors.decode()

    return run


@pytest.fixture
def serving():
    """`async with serving("demo") as (process, wires)`: `lms-sim serve`, ready, killed at the end if need be."""

    @asynccontextmanager
    async def serve(*arguments: str | Path):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "lms_firmware_sim", "serve", *map(str, arguments), stdout=asyncio.subprocess.PIPE
        )
        try:
            async with awaiting("the simulator is ready"):
                line = await process.stdout.readline()
            ready = json.loads(line)
            assert ready["ready"] is True
            yield process, ready["wires"]
        finally:
            if process.returncode is None:
                process.kill()
            # Reads what is left, so that the pipe is closed with the process.
            await process.communicate()

    return serve
