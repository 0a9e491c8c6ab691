"""From box to reading on the simulator's bench, as a technician goes: scan, init, read, in a terminal of 80 × 24.

    PYTHONPATH=tests .venv/bin/python -m support.bench > docs/box-to-reading.md

writes the page of the documentation anew; the tests go the same way and look at what comes of it.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from support.terminal import Shown, in_terminal

PROGRAMS = Path(sys.executable).parent
BROKER = ("--group", "my-org", "--agent", "pi-1", "--broker", "mqtts://broker.example.org", "--account", "pi-1")


class Way(NamedTuple):
    """One instrument's way.

    Attributes:
        wire: of the bench.
        title: for the page.
        profiles: that it ends with, in order.
        model: to be chosen by hand, where nothing proves what hangs there; "" else.
    """

    wire: str
    title: str
    profiles: tuple[str, ...]
    model: str = ""


WAYS = (
    Way("hamilton", "Hamilton Arc pH and VisiFerm DO on one line", ("hamilton-arc-ph", "hamilton-visiferm-do")),
    Way("ezo-ph", "Atlas Scientific EZO pH", ("atlas-ezo-ph",)),
    Way("ezo-do", "Atlas Scientific EZO DO", ("atlas-ezo-do",)),
    Way("balance", "Mettler Toledo balance", ("mt-sics-balance",)),
    Way("alicat", "Two Alicat mass-flow controllers on one line, in ASCII", ("alicat-ascii", "alicat-ascii")),
    Way("alicat-modbus", "Alicat mass-flow controller, in Modbus", ("alicat-modbus",), "alicat-modbus"),
    Way("pumps", "Two Watson-Marlow 520 pumps", ("watson-marlow-520", "watson-marlow-520")),
    Way("pump-323", "Watson-Marlow 323 pump", ("watson-marlow-323",)),
    Way("m80", "Mettler Toledo M80 transmitter", ("mettler-m80",), "mettler-m80"),
    Way("generic", "A Modbus TCP controller that no profile knows", ("",), "other"),
)


@contextmanager
def bench(folder: Path) -> Iterator[dict[str, str]]:
    """The simulator's bench in a process of its own; where each of its wires is."""
    command = [PROGRAMS / "lms-sim", "serve", "bench", "--state-dir", folder, "--wires-dir", folder / "wires"]
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True) as simulator:
        assert simulator.stdout is not None
        try:
            yield json.loads(simulator.stdout.readline())["wires"]
        finally:
            simulator.terminate()


class Walk:
    """Walks one way, command by command.

    Args:
        folder: for the configuration and the log.
        place: the port, or host and port.
    """

    def __init__(self, way: Way, place: str, folder: Path) -> None:
        self.way = way
        self.place = place
        self.config = folder / f"{way.wire}.toml"
        self.shown: list[tuple[str, Shown]] = []
        self._folder = folder
        (folder / "word").touch(0o600)
        (folder / "word").write_text("correct horse")

    async def walk(self, units: str = "1-2") -> None:
        """All of it."""
        await self._run("scan", self.place, "--units", units)
        if not self.way.profiles[0]:
            await self._run("scan", self.place, "--unit", "1", "--between", "36,38")
        await self._run("init", typed=self._answers(), hidden=(*BROKER, *self._files(), "--bioreactor", "R1=STR-1"))
        for _ in range(3):  # on a busy machine a circuit that streams says a reading right behind its first answers
            await self._run("read", hidden=("--config", self.config))
            if self.shown[-1][1].code == 0:
                break
            refused = self.shown.pop()
        else:
            self.shown.append(refused)

    async def _run(
        self, *arguments: str, typed: list[tuple[str, str]] | None = None, hidden: tuple[object, ...] = ()
    ) -> None:
        shown = await in_terminal([PROGRAMS / "lms-agent", *arguments, *hidden], typed or [])
        self.shown.append((f"lms-agent {' '.join(arguments)}", shown))

    def _files(self) -> tuple[object, ...]:
        word, log = self._folder / "word", self._folder / f"{self.way.wire}.sqlite3"
        return ("--output", self.config, "--password-file", word, "--log", log)

    def _answers(self) -> list[tuple[str, str]]:
        several = len(self.way.profiles) > 1
        first = [("Port, or host", f"{self.place}\n")]
        if not self.way.model:
            taken = [("Look what hangs there", "\n"), ("Take them?" if several else "Take it?", "\n")]
        elif self.way.profiles[0]:
            boxed = [("Its unit", "\n"), ("Set as in its box", "\n")]
            taken = [("Look what hangs there", "n\n"), ("Which model", f"{self.way.model}\n"), *boxed]
        else:
            told = ["Tag, such as", "Register", "Address", "Stored as", "Scale", "Engineering unit"]
            said = ["Temperature/PV", "holding", "0", "int16", "0.1", "°C"]
            points = [(question, f"{answer}\n") for question, answer in zip(told, said, strict=True)]
            taken = [("Look what hangs there", "n\n"), ("Which model", "other\n"), ("Modbus unit", "\n"), *points]
            taken += [("Another value?", "\n"), ("A name", "controller\n")]
        return [*first, *taken, ("Another instrument?", "\n")]


HEAD = """\
# From box to reading

What a technician types, and what is seen, for an instrument of each [profile](instruments/README.md): find it, set it
up, read it. Made from real runs against the [simulator's bench](simulator.md) in a terminal of 80 × 24 by
`tests/support/bench.py`; only names of ports are written shorter. Organization and broker were given as options
([`init`](agent.md#the-first-configuration-init)), the rest are a few returns.
"""


async def walk_all(folder: Path, units: str = "1-2") -> list[Walk]:
    """All ways, side by side: most of it is waiting for what does not answer."""
    with bench(folder) as wires:
        walks = [Walk(way, wires[way.wire], folder) for way in WAYS]
        await asyncio.gather(*(walk.walk(units) for walk in walks))
    return walks


async def _page() -> str:
    parts = [HEAD]
    with tempfile.TemporaryDirectory(prefix="b") as name:
        for walk in await walk_all(Path(name), "1-16"):
            parts.append(f"## {walk.way.title}\n")
            for command, shown in walk.shown:
                text = "\n".join((f"$ {command}", *(line for line in shown.lines if line)))
                text = text.replace(f"{name}/wires/", "/dev/").replace(f"{name}/", "/etc/lms-evo/")
                parts.append(f"```console\n{text}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(asyncio.run(_page()))
