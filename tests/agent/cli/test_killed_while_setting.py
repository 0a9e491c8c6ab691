"""An agent that is killed at any moment while it carries out commands: none is sent twice, and each has one end."""

import asyncio
import random
import signal

from lms_agent.log.reader import LogReader
from lms_agent.service import Service
from lms_agent.service.errors import ServiceError
from lms_protocol.commands import EVENT_TAG, CommandEvent
from support.patience import awaiting

KILLS = 6
SETTABLE = """
[[instrument]]
id = "stirrer"
bus = "controller"
bioreactor = "R1"
point = [{ tag = "Stirrer/SP", address = 10, access = "write" }]
"""


def set_on(log, first):
    """Set one value after another until the agent is gone; the last one that was tried."""
    number = first
    service = Service.of(log)
    try:
        while service is not None:
            number += 1
            words = {"bioreactor": "R1", "tag": "Stirrer/SP", "by": "ada", "reason": "trying", "lifetime_s": 30}
            service.ask("set", id=f"c-{number}", value=number, **words)
    except ServiceError:
        pass
    finally:
        if service is not None:
            service.close()
    return number


def told(log):
    with LogReader.open(log) as reader:
        tag = next(tag.number for tag in reader.tags() if tag.name == EVENT_TAG)
        readings = [reading for batch in reader.after(0) for reading in batch.readings if reading.tag == tag]
    states = {}
    for reading in readings:
        event = CommandEvent.from_text(reading.value)
        if str(event.state) not in states.setdefault(event.id, []):  # after a crash one may be told twice
            states[event.id].append(str(event.state))
    return states


async def test_nothing_is_sent_twice_and_each_command_has_one_end(plant, running):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    plant.tcp.units[1].put(10, 0)
    plant.config.write_text(plant.config.read_text(encoding="utf-8") + SETTABLE, encoding="utf-8")
    log, last, sent = plant.config.with_name("log.sqlite3"), 0, []
    plant.tcp.units[1].on_write = lambda _table, _address, words: sent.extend(words)
    for _ in range(KILLS):
        async with running(ends_with=-signal.SIGKILL) as agent:
            setting = asyncio.create_task(asyncio.to_thread(set_on, log, last))
            enough = len(sent) + chance.randint(1, 8)
            async with awaiting("some commands are carried out"):
                while len(sent) < enough:
                    await asyncio.sleep(0.001)
            await asyncio.sleep(chance.uniform(0.0, 0.02))  # any moment of the next one
            agent.kill()
            await agent.wait()
            last = await setting
    async with running():
        async with awaiting("all is told"):
            while any(len(states) < 2 for states in told(log).values()):
                await asyncio.sleep(0.05)
        before = list(sent)
        for number in range(1, last + 1):  # whoever does not know what became of a command asks again
            answer = await asyncio.to_thread(again, log, number)
            assert answer in (None, *told(log).get(f"c-{number}", ()))
        assert sent == before
    assert len(sent) == len(set(sent)), "sent twice"
    states = told(log)
    assert all(found in (["begun", "done"], ["begun", "not confirmed"]) for found in states.values()), states
    assert {f"c-{number}" for number in sent} <= set(states), "sent before it was in the log"
    done = {id_ for id_, found in states.items() if found[1] == "done"}
    assert done <= {f"c-{number}" for number in sent}
    assert len(done) >= KILLS


def again(log, number):
    """The state of a command that is known; None if it never came."""
    if f"c-{number}" not in told(log):
        return None
    with Service.of(log) as service:
        words = {"bioreactor": "R1", "tag": "Stirrer/SP", "by": "ada", "reason": "trying", "lifetime_s": 30}
        answer = service.ask("set", id=f"c-{number}", value=number, **words)
    return str(CommandEvent.from_text(str(answer["event"])).state)
