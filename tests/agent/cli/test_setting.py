"""`lms-agent set`, `lock`, `unlock`, `sync`: beside a running agent and without one, by who and why."""

import asyncio
import getpass
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from lms_agent.log.reader import LogReader
from lms_firmware_sim.wires import Fault
from lms_protocol.commands import EVENT_TAG, CommandEvent
from support.patience import awaiting

SETTABLE = """
[[instrument]]
id = "stirrer"
bus = "controller"
bioreactor = "R1"
[[instrument.point]]
tag = "Stirrer/SP"
address = 10
access = "write"
set_low = 0.0
set_high = 1200.0
unit = "rpm"
[[instrument.point]]
tag = "Pump/On"
register = "coil"
kind = "bool"
address = 2
access = "write"
"""
WHO = ("--by", "ada", "--why", "trying")


@pytest.fixture
def settable(plant):
    registers = plant.tcp.units[1]
    registers.put(10, 300)
    registers.put(2, 0, register="coil")
    plant.config.write_text(plant.config.read_text(encoding="utf-8") + SETTABLE, encoding="utf-8")
    return plant


def told(plant):
    """What the log tells of commands."""
    with LogReader.open(plant.config.with_name("log.sqlite3")) as reader:
        numbers = {tag.number for tag in reader.tags() if tag.name == EVENT_TAG}
        return [
            CommandEvent.from_text(reading.value)
            for batch in reader.after(0)
            for reading in batch.readings
            if reading.tag in numbers
        ]


@pytest.mark.parametrize("beside_an_agent", [True, False])
async def test_tag_is_set_and_told_with_and_without_an_agent(settable, lms_agent, running, beside_an_agent):
    async def try_it():
        answer = await lms_agent("set", "Stirrer/SP", "350", *WHO, "-c", settable.config)
        assert (answer.code, answer.out) == (0, "Stirrer/SP of R1 is set to 350 rpm; stirrer holds 350 rpm\n"), answer
        answer = await lms_agent("set", "Pump/On", "on", *WHO, "-c", settable.config, "--json")
        assert (answer.code, answer.json["state"], answer.json["read_back"]) == (0, "done", True)
        answer = await lms_agent("set", "Stirrer/SP", "1300", *WHO, "-c", settable.config)
        assert answer.code == 1
        expected = "Stirrer/SP of R1, 1300 rpm: nothing was set: it is refused (1300 is above the highest that may be"
        assert " ".join(answer.err.split()).startswith(expected)

    if beside_an_agent:
        async with running():
            await try_it()
    else:
        await try_it()
    assert settable.tcp.units[1].value(10) == 350
    events = told(settable)
    assert [str(event.state) for event in events] == ["begun", "done", "begun", "done", "refused"]
    answer = await lms_agent("log", "commands", "--config", settable.config)
    rows = [line.split()[2:] for line in answer.out.splitlines()]
    assert [row[:5] for row in rows] == [
        ["WHAT", "TO", "STATE", "WHO", "WHY"],
        ["R1", "Stirrer/SP", "350", "done", "ada"],
        ["R1", "Pump/On", "on", "done", "ada"],
        ["R1", "Stirrer/SP", "1300", "refused", "ada"],
    ]
    answer = await lms_agent("log", "commands", "--config", settable.config, "--json")
    assert [CommandEvent.from_text(line) for line in answer.out.splitlines()] == events
    assert {(event.by, event.reason, event.source) for event in events} == {("ada", "trying", "bench")}
    assert {event.account for event in events} <= {getpass.getuser(), os.environ.get("SUDO_USER")}


async def test_lock_is_kept_and_told(settable, lms_agent, running):
    answer = await lms_agent("lock", "-c", settable.config)
    assert answer.out == "nothing is locked\n"
    answer = await lms_agent("lock", "R1", "--by", "bob", "--why", "hands in the vessel", "-c", settable.config)
    assert answer.code == 0, answer.err
    async with running():
        answer = await lms_agent("lock", "-c", settable.config, "--json")
        assert answer.json["R1"]["by"] == "bob"
        answer = await lms_agent("set", "Stirrer/SP", "350", *WHO, "-c", settable.config)
        assert answer.code == 0  # the bench may
        answer = await lms_agent("unlock", "R1", *WHO, "-c", settable.config)
        assert answer.code == 0, answer.err
        answer = await lms_agent("lock", "R7", *WHO, "-c", settable.config)
        assert (answer.code, "no bioreactor 'R7'" in answer.err) == (1, True)
    answer = await lms_agent("lock", "-c", settable.config)
    assert answer.out == "nothing is locked\n"
    assert [str(event.state) for event in told(settable)] == ["locked", "begun", "done", "unlocked"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("Stirrer/SP", "fast", *WHO), "found 'fast' for Stirrer/SP; allowed: a whole number"),
        (("Pump/On", "7", *WHO), "allowed: on or off"),
        (("pump/on", "on", *WHO), "no tag 'pump/on'; these can be set: Pump/On, Stirrer/SP"),
        (("Stirrer/SP", "350", "--by", "ada"), "say why"),
        (("Stirrer/SP", "350", "--by", "", "--why", "x"), "--by says nothing"),
    ],
)
async def test_command_that_cannot_be_used_says_so(settable, lms_agent, arguments, words):
    answer = await lms_agent("set", *arguments, "-c", settable.config)
    assert (answer.code, words in " ".join(answer.err.split())) == (2, True), answer.err
    answer = await lms_agent("set", *arguments, "-c", settable.config, "--json")
    assert (answer.code, words in answer.json["error"], answer.err) == (2, True, "")
    assert not settable.tcp.requests


async def test_negative_number_is_a_value_and_no_option(settable, lms_agent):
    answer = await lms_agent("set", "Stirrer/SP", "-5", *WHO, "-c", settable.config)
    assert (answer.code, "below the lowest" in " ".join(answer.err.split())) == (1, True), answer.err
    answer = await lms_agent("set", "Stirrer/SP", "5", "--wyh", "x", *WHO, "-c", settable.config)
    assert answer.code == 2, "a misspelt option is none"
    assert not [request for request in settable.tcp.requests if request.function == 6]


async def test_who_interrupts_is_told_that_it_may_have_been_set(settable, lms_agent):
    settable.tcp.fault = Fault.silence()
    process = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).with_name("lms-agent"), "set", "Stirrer/SP", "350", *WHO, "-c", settable.config),
        stderr=asyncio.subprocess.PIPE,
    )
    async with awaiting("the write is on the wire"):
        while not [request for request in settable.tcp.requests if request.function == 6]:
            await asyncio.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, words = await process.communicate()
    assert (process.returncode, b"NOT CONFIRMED" in words) == (3, True), words
    assert str(told(settable)[-1].state) == "not confirmed"


async def test_doubt_has_an_exit_code_of_its_own(settable, lms_agent):
    settable.tcp.fault = Fault.silence()
    answer = await lms_agent("set", "Stirrer/SP", "350", *WHO, "-c", settable.config)
    assert answer.code == 3
    assert "NOT CONFIRMED" in answer.err


async def test_killed_agent_tells_at_its_next_start_what_it_does_not_know(settable, lms_agent, running):
    async with running(ends_with=-signal.SIGKILL) as agent:
        settable.tcp.fault = Fault.silence()
        setting = asyncio.create_task(lms_agent("set", "Stirrer/SP", "350", *WHO, "-c", settable.config))
        async with awaiting("the write is on the wire"):
            while not [request for request in settable.tcp.requests if request.function == 6]:
                await asyncio.sleep(0.01)
        agent.kill()
        await agent.wait()
        answer = await setting
        assert answer.code == 3, "it may have been set"
        assert "NOT CONFIRMED that it was set" in " ".join(answer.err.split())
        assert "gives no answer" in " ".join(answer.err.split())
    settable.tcp.fault = None
    settable.tcp.requests.clear()
    async with running(), awaiting("it is told"):
        while [str(event.state) for event in told(settable)] != ["begun", "not confirmed"]:
            await asyncio.sleep(0.05)
    assert not [request for request in settable.tcp.requests if request.function == 6]


async def test_settings_that_are_taken_over_hold_for_what_is_set(settable, lms_agent, running):
    async with running() as agent:
        text = settable.config.read_text(encoding="utf-8")
        settable.config.write_text(text.replace("set_high = 1200.0", "set_high = 400.0"), encoding="utf-8")
        agent.send_signal(signal.SIGHUP)
        async with awaiting("the new limit holds"):
            while (await lms_agent("set", "Stirrer/SP", "500", *WHO, "-c", settable.config)).code != 1:
                await asyncio.sleep(0.1)
        answer = await lms_agent("set", "Stirrer/SP", "350", *WHO, "-c", settable.config)
        assert answer.code == 0, answer.err


async def test_sync_says_how_sending_goes(settable, lms_agent, running):
    async with running():
        answer = await lms_agent("sync", settable.config)
        assert answer.code == 1
        assert "connection        none to mqtt://127.0.0.1:1883" in answer.out
        assert "batches wait; the oldest was read" in " ".join(answer.out.split())
        status = (await lms_agent("sync", settable.config, "--json")).json
        assert (status["running"], status["connected"], status["acked"]) == (True, False, 0)
        assert status["backlog"] == status["batches"] > 0
    answer = await lms_agent("sync", settable.config)
    assert answer.code == 1
    assert "no agent runs" in answer.out
    assert json.loads((await lms_agent("sync", settable.config, "--json")).out)["running"] is False
