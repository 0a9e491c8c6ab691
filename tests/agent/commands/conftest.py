"""Commands on a real log, against a simulated instrument on a Modbus TCP wire, by clocks that a test sets."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from lms_agent.bench import opened
from lms_agent.commands import Commands, CommandStore
from lms_agent.log.sqlite_log import SqliteLog
from lms_agent.registering import register
from lms_agent.settings import load_settings
from lms_agent.timekeeping.discipline import Rules
from lms_agent.timekeeping.timekeeper import Timekeeper
from lms_firmware_sim.wires import ModbusTcpWire, RegisterMap
from lms_protocol.commands import EVENT_TAG, CommandEvent, Note
from lms_protocol.edge import TagCommand
from support.clocks import Pi
from support.patience import awaiting

CONFIGURATION = """\
[agent]
id = "agent-1"
group = "demo-org"
log = "log.sqlite3"
[broker]
url = "mqtt://127.0.0.1:1883"
account = "agent-1"
password_file = "secret"
{commands}
[[bioreactor]]
id = "R1"
[[bioreactor]]
id = "R2"
[[bus]]
id = "controller"
kind = "modbus-tcp"
host = "127.0.0.1"
port = {port}
timeout_s = 0.3
[[instrument]]
id = "str-1"
bus = "controller"
bioreactor = "R1"
point = [
  {{ tag = "pH/SP", address = 0, kind = "float32", access = "write", low = 6.0, high = 8.0, set_step = 0.5 }},
  {{ tag = "Stirrer/SP", address = 2, access = "write", set_low = 0.0, set_high = 1200.0 }},
  {{ tag = "pH/PV", address = 4, kind = "float32" }},
  {{ tag = "Far/SP", address = 900, access = "write" }},
]
"""


class Clerk:
    """`Commands` with all that it needs, as the agent has it."""

    def __init__(self, folder, wire, commands=""):
        self.wire, self.pi = wire, Pi(wrong_by_ms=0, synchronised=True)
        self.config = folder / "agent.toml"
        self.config.write_text(CONFIGURATION.format(port=wire.port, commands=commands))
        (folder / "secret").touch(0o600)
        (folder / "secret").write_text("correct horse")
        self.settings = load_settings(self.config)
        self.count = 0

    @asynccontextmanager
    async def running(self):
        """From the agent's start to its end."""
        async with self.started():
            yield self
            await self.commands.end()

    @asynccontextmanager
    async def started(self):
        """From the agent's start to its death: nothing is ended in good order."""
        with SqliteLog.open(self.settings.agent.log) as log:
            self.log = log
            self.clock = await Timekeeper.begin(self.pi, log, log.head, Rules())
            tags = register(log, self.settings)
            self.event_tag = next(tag.number for tag in tags if tag.name == EVENT_TAG)
            store = CommandStore.open(log.path, ["R1", "R2"], self.pi.true_ms)
            self.commands = Commands(store, log, self.clock)
            async with opened(self.settings, self.settings.instruments) as self.bench:
                self.commands.follow(self.settings, tags, self.bench)
                running = asyncio.create_task(self.commands.run())
                try:
                    yield self
                finally:
                    running.cancel()
                    for task in list(self.commands._tasks):
                        task.cancel()
                    await asyncio.wait([running, *self.commands._tasks])
                    store.close()

    def hears(self, tag, value, *, id_=None, lifetime_ms=30_000, issued_ago_ms=0, by="ada"):
        """A host sends a command; its id."""
        self.count += 1
        id_ = id_ or f"c-{self.count}"
        issued_at_ms = self.pi.true_ms - issued_ago_ms
        note = Note(id_, by, "ramp", issued_at_ms + lifetime_ms)
        self.commands.hear(TagCommand("R1", self.described(tag), value, issued_at_ms, tag, note.to_text()))
        return id_

    def described(self, tag):
        return next((one for one in self.log.known_tags if one.name == tag), None)

    def events(self, id_=None):
        """What the log tells, in order."""
        told = [
            CommandEvent.from_text(reading.value)
            for batch in self.log._reader.read(1, 10_000)
            for reading in batch.readings
            if reading.tag == self.event_tag
        ]
        return told if id_ is None else [event for event in told if event.id == id_]

    def states(self, id_):
        return [str(event.state) for event in self.events(id_)]

    async def until_over(self, id_):
        """Wait for the end of a command; the event that tells it."""
        async with awaiting(f"the end of {id_}"):
            while not (events := self.events(id_)) or events[-1].state == "begun":
                await asyncio.sleep(0.01)
        return events[-1]

    @property
    def writes(self):
        return [request for request in self.wire.requests if request.function in (5, 6, 15, 16)]


@pytest.fixture
async def wire():
    registers = RegisterMap()
    registers.put(0, 7.0, "float32")
    registers.put(2, 300)
    registers.put(3, 0)
    registers.put(4, 7.02, "float32")
    async with ModbusTcpWire({1: registers}) as laid:
        yield laid


@pytest.fixture
def clerk(tmp_path, wire):
    return Clerk(tmp_path, wire)


@pytest.fixture
def clerk_with(tmp_path, wire):
    return lambda commands: Clerk(tmp_path, wire, commands)
