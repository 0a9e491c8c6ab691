"""A command is carried out once, in time, within its limits, or not at all; and the log tells which."""

import asyncio
from dataclasses import replace

import pytest
from lms_agent.bench import opened
from lms_agent.commands.commanding import NotNow, _end_of
from lms_agent.commands.store import StoreUnavailable
from lms_agent.drivers.driver import Written
from lms_agent.log.errors import LogWriteFailed
from lms_firmware_sim.wires import Fault
from lms_protocol.commands import CommandEvent, Lock, SetPoint, Source, State
from lms_protocol.edge import TagCommand
from support.patience import awaiting


def from_bench(clerk, tag="pH/SP", value=7.1, id_="b-1", lifetime_ms=30_000):
    now_ms = clerk.pi.true_ms
    return SetPoint(id_, "R1", tag, value, "bob", "test", Source.BENCH, now_ms, now_ms + lifetime_ms)


def from_bench_by(clock, tag, value):
    return SetPoint("b-1", "R1", tag, value, "bob", "test", Source.BENCH, 0, 0).valid_from(clock.wall_ms(), 30_000)


async def test_command_of_a_host_is_carried_out_and_told(clerk):
    async with clerk.running():
        issued_at_ms = clerk.pi.true_ms
        id_ = clerk.hears("pH/SP", 7.25)
        end = await clerk.until_over(id_)
        assert clerk.states(id_) == ["begun", "done"]
        assert end == CommandEvent(
            id=id_,
            state=State.DONE,
            at_ms=end.at_ms,
            by="ada",
            reason="ramp",
            source=Source.REMOTE,
            tag="pH/SP",
            value=7.25,
            issued_at_ms=issued_at_ms,
            valid_until_ms=issued_at_ms + 30_000,
            read_back=7.25,
        )
        assert clerk.wire.units[1].value(0, "float32") == 7.25


async def test_begun_is_in_the_log_before_anything_is_sent(clerk, monkeypatch):
    async with clerk.running():
        before = []
        write = clerk.bench.write

        async def watched(*arguments):
            before.append(clerk.states("c-1"))
            return await write(*arguments)

        monkeypatch.setattr(clerk.bench, "write", watched)
        await clerk.until_over(clerk.hears("pH/SP", 7.25))
        assert before == [["begun"]]


async def test_same_id_is_carried_out_once_whatever_it_says(clerk):
    async with clerk.running():
        id_ = clerk.hears("pH/SP", 7.25)
        clerk.hears("pH/SP", 7.25, id_=id_)
        await clerk.until_over(id_)
        clerk.hears("pH/SP", 7.4, id_=id_)
        again = await clerk.commands.set(replace(from_bench(clerk), id=id_), "bob")
        assert (again.state, again.command.value) == (State.DONE, 7.25)
        assert len(clerk.writes) == 1
    async with clerk.running():
        clerk.hears("pH/SP", 7.4, id_=id_)
        last = clerk.hears("Stirrer/SP", 350)
        await clerk.until_over(last)
        assert clerk.states(id_) == ["begun", "done"]
        assert len(clerk.writes) == 2


async def test_bench_learns_what_became_of_it(clerk):
    async with clerk.running():
        record = await clerk.commands.set(from_bench(clerk, value=7), "bob")
        assert (record.state, record.read_back, record.account) == (State.DONE, 7.0, "bob")
        record = await clerk.commands.set(from_bench(clerk, value=9.0, id_="b-2"), "bob")
        assert (record.state, record.why) == (State.REFUSED, "9 is above the highest that may be set, 8")
        assert clerk.states("b-2") == ["refused"]


@pytest.mark.parametrize(
    ("tag", "value", "why"),
    [
        ("pH/SP", 8.5, "above the highest"),
        ("pH/SP", 7.6, "change it by 0.5 at most, from 7"),
        ("pH/SP", "acid", "no FLOAT value"),
        ("Stirrer/SP", 300.5, "no INT64 value"),
        ("Stirrer/SP", -1, "below the lowest"),
        ("pH/PV", 7.0, "cannot be set"),
        ("pH/OUT", 7.0, "R1 has no tag pH/OUT"),
        ("Far/SP", 1, "answers error 2"),
    ],
)
async def test_what_may_not_be_set_is_refused_and_told(clerk, tag, value, why):
    async with clerk.running():
        end = await clerk.until_over(clerk.hears(tag, value))
        assert end.state is State.REFUSED
        assert why in end.why
        assert clerk.wire.units[1].value(0, "float32") == 7.0
        assert clerk.wire.units[1].value(2) == 300


async def test_command_that_comes_late_is_void(clerk):
    async with clerk.running():
        end = await clerk.until_over(clerk.hears("pH/SP", 7.25, issued_ago_ms=60_000))
        assert (end.state, end.why) == (State.EXPIRED, "its lifetime was over 30.0 s before")
        assert not clerk.writes


async def busy_line(clerk):
    """The line waits for an instrument that does not answer; somebody must let it."""
    clerk.wire.fault = Fault.silence()
    clerk.wire.requests.clear()
    waiting = asyncio.create_task(clerk.bench.read())
    async with awaiting("the line is busy"):
        while not clerk.wire.requests:
            await asyncio.sleep(0.005)
    return waiting


async def test_command_that_waits_too_long_for_a_busy_line_is_void(clerk):
    async with clerk.running():
        waiting = await busy_line(clerk)
        id_ = clerk.hears("Stirrer/SP", 350)
        async with awaiting("it is begun"):
            while clerk.states(id_) != ["begun"]:
                await asyncio.sleep(0.005)
        clerk.pi.run(31_000)
        clerk.wire.fault = None
        assert (await clerk.until_over(id_)).state is State.EXPIRED
        await waiting
        assert not clerk.writes


async def test_lock_that_comes_while_a_command_waits_wins(clerk):
    async with clerk.running():
        waiting = await busy_line(clerk)
        id_ = clerk.hears("Stirrer/SP", 350)
        await clerk.commands.lock(
            "R1", Lock("bob", "cleaning", clerk.pi.true_ms), by="bob", why="cleaning", account="b"
        )
        clerk.wire.fault = None
        end = await clerk.until_over(id_)
        assert (end.state, end.why) == (State.REFUSED, "R1 is locked at the bench by bob: cleaning")
        await waiting
        assert not clerk.writes


async def test_lock_keeps_hosts_out_until_it_is_taken_away_also_over_a_restart(clerk):
    async with clerk.running():
        await clerk.commands.lock("R1", Lock("bob", "cleaning", 5), by="bob", why="cleaning", account="b")
    async with clerk.running():
        assert clerk.commands.state["locks"] == {"R1": {"by": "bob", "why": "cleaning", "since_ms": 5}}
        assert (await clerk.until_over(clerk.hears("pH/SP", 7.25))).state is State.REFUSED
        assert (await clerk.commands.set(from_bench(clerk), "bob")).state is State.DONE
        await clerk.commands.lock("R1", None, by="ada", why="done", account="a")
        assert (await clerk.until_over(clerk.hears("pH/SP", 7.25))).state is State.DONE
        told = [
            (event.state, event.by, event.reason, event.account) for event in clerk.events() if "lock" in event.state
        ]
        assert told == [("locked", "bob", "cleaning", "b"), ("unlocked", "ada", "done", "a")]
        with pytest.raises(NotNow, match="no bioreactor 'R9'"):
            await clerk.commands.lock("R9", None, by="ada", why="done", account="a")


async def test_lock_that_cannot_be_kept_is_in_force_all_the_same(clerk, monkeypatch):
    async with clerk.running():
        save = clerk.commands._store.save

        def full(**_):
            raise StoreUnavailable(clerk.commands._store.path, "disk is full")

        monkeypatch.setattr(clerk.commands._store, "save", full)
        with pytest.raises(NotNow, match="R1 is locked, but that may not outlast a restart"):
            await clerk.commands.lock("R1", Lock("bob", "cleaning", 5), by="bob", why="cleaning", account="b")
        id_ = clerk.hears("pH/SP", 7.25)
        async with awaiting("it is refused"):
            while clerk.commands._book.get(id_).state is not State.REFUSED:
                await asyncio.sleep(0.01)
        monkeypatch.setattr(clerk.commands._store, "save", save)
        assert (await clerk.until_over(id_)).why == "R1 is locked at the bench by bob: cleaning"
        assert not clerk.writes
    async with clerk.running():
        assert set(clerk.commands.locks) == {"R1"}


async def test_agent_that_does_not_know_the_time_takes_commands_from_the_bench_alone(clerk):
    clerk.pi.synchronised = False
    async with clerk.running():
        end = await clerk.until_over(clerk.hears("pH/SP", 7.25))
        assert (end.state, "does not know the time" in end.why) == (State.REFUSED, True)
        assert (await clerk.commands.set(from_bench(clerk), "bob")).state is State.DONE


async def test_silence_after_a_write_is_not_confirmed(clerk):
    async with clerk.running():
        clerk.wire.fault = Fault.silence()
        end = await clerk.until_over(clerk.hears("Stirrer/SP", 350))
        assert (end.state, end.read_back) == (State.NOT_CONFIRMED, None)
        assert "no reply" in end.why


async def test_nothing_is_sent_that_cannot_be_written_down(clerk, monkeypatch):
    async with clerk.running():
        append = clerk.log.append

        async def full(*_):
            raise LogWriteFailed(clerk.log.path, "the disk is full", "make room")

        monkeypatch.setattr(clerk.log, "append", full)
        record = await clerk.commands.set(from_bench(clerk), "bob")
        assert (record.state, "could not be written down" in record.why) == (State.REFUSED, True)
        assert not clerk.writes
        assert "disk is full" in clerk.commands.state["error"]
        monkeypatch.setattr(clerk.log, "append", append)
        await clerk.until_over("b-1")
        assert clerk.states("b-1") == ["begun", "refused"]


async def test_agent_that_dies_with_a_command_under_way_never_sends_it_again(clerk):
    async with clerk.started():
        clerk.wire.fault = Fault.silence()
        id_ = clerk.hears("Stirrer/SP", 350)
        async with awaiting("the write is on the wire"):
            while not clerk.writes:
                await asyncio.sleep(0.005)
    clerk.wire.fault = None
    async with clerk.running():
        end = await clerk.until_over(id_)
        assert (end.state, "the agent ended" in end.why) == (State.NOT_CONFIRMED, True)
        clerk.hears("Stirrer/SP", 350, id_=id_)
        await clerk.until_over(clerk.hears("pH/SP", 7.25))
        assert clerk.states(id_) == ["begun", "not confirmed"]
        assert [write.address for write in clerk.writes] == [2, 0]


async def test_plain_command_is_refused_unless_the_settings_allow_it(clerk, clerk_with):
    def plain(clerk, at_ms):
        return TagCommand("R1", clerk.described("pH/SP"), 7.25, at_ms, "pH/SP")

    async with clerk.running():
        clerk.commands.hear(plain(clerk, clerk.pi.true_ms))
        async with awaiting("the refusal"):
            while not clerk.events():
                await asyncio.sleep(0.01)
        (end,) = clerk.events()
        assert (end.state, "does not say who" in end.why) == (State.REFUSED, True)
    clerk = clerk_with("[commands]\naccept_plain = true\nplain_lifetime_s = 5.0")
    async with clerk.running():
        at_ms = clerk.pi.true_ms + 1
        for _ in range(3):  # the broker may bring it more than once
            clerk.commands.hear(plain(clerk, at_ms))
        clerk.commands.hear(plain(clerk, at_ms - 6_000))
        clerk.commands.hear(plain(clerk, None))
        async with awaiting("both ends"):
            while len(clerk.events()) < 4:
                await asyncio.sleep(0.01)
        assert sorted(str(event.state) for event in clerk.events()[1:]) == ["begun", "done", "expired"]
        assert len(clerk.writes) == 1


async def test_command_that_comes_while_settings_are_taken_over_waits_for_them(clerk):
    async with clerk.running():
        await clerk.bench.close()
        id_ = clerk.hears("Stirrer/SP", 350)
        late = clerk.hears("Stirrer/SP", 360, lifetime_ms=1_000)
        async with awaiting("both are begun"):
            while clerk.states(id_) != ["begun"] or clerk.states(late) != ["begun"]:
                await asyncio.sleep(0.005)
        clerk.pi.run(2_000)
        assert (await clerk.until_over(late)).state is State.EXPIRED
        async with opened(clerk.settings, clerk.settings.instruments) as bench:
            clerk.commands.follow(clerk.settings, list(clerk.log.known_tags), bench)
            assert (await clerk.until_over(id_)).state is State.DONE
        assert clerk.wire.units[1].value(2) == 350


async def test_command_that_cannot_be_remembered_is_refused_and_told_once(clerk, monkeypatch):
    async with clerk.running():
        done = clerk.hears("Stirrer/SP", 350)
        await clerk.until_over(done)
        monkeypatch.setattr("lms_protocol.command_book.MOST_KNOWN", 1)
        id_ = clerk.hears("Stirrer/SP", 360)
        end = await clerk.until_over(id_)
        assert (end.state, end.by, "no more are taken" in end.why) == (State.REFUSED, "ada", True)
        monkeypatch.undo()
        clerk.hears("Stirrer/SP", 360, id_=id_)  # it was told to be refused, and stays so
        await clerk.until_over(clerk.hears("pH/SP", 7.1))
        assert clerk.states(id_) == ["refused"]
        assert len(clerk.writes) == 2


async def test_step_counts_from_what_the_command_before_has_set(clerk):
    async with clerk.running():
        first, second = clerk.hears("pH/SP", 7.4), clerk.hears("pH/SP", 6.6)
        assert (await clerk.until_over(first)).state is State.DONE
        end = await clerk.until_over(second)
        assert (end.state, "at most, from 7.4" in end.why) == (State.REFUSED, True), end
        assert len(clerk.writes) == 1


@pytest.mark.parametrize(("fault", "state"), [(Fault.busy(times=1), State.DONE), (Fault.busy(), State.REFUSED)])
async def test_busy_unit_is_asked_once_more_and_the_end_is_told(clerk, fault, state):
    async with clerk.running():
        clerk.wire.fault = fault
        end = await clerk.until_over(clerk.hears("Stirrer/SP", 350))
        assert end.state is state
        assert len(clerk.writes) == 2
        assert clerk.wire.units[1].value(2) == (350 if state is State.DONE else 300)


async def test_failure_that_nobody_foresaw_is_told(clerk, monkeypatch):
    async def before_it_went(*_):
        raise KeyError("layout")

    async def after_it_went(_device, _tag, _value, go):
        go()
        raise KeyError("layout")

    async with clerk.running():
        monkeypatch.setattr(clerk.bench, "write", before_it_went)
        end = await clerk.until_over(clerk.hears("Stirrer/SP", 350))
        assert (end.state, "KeyError" in end.why) == (State.REFUSED, True)
        monkeypatch.setattr(clerk.bench, "write", after_it_went)
        assert (await clerk.until_over(clerk.hears("Stirrer/SP", 350))).state is State.NOT_CONFIRMED


async def test_clock_that_is_put_back_makes_no_lifetime_longer(clerk):
    clerk.pi.wrong_by_ms, clerk.pi.synchronised = 3_600_000, False
    async with clerk.running():
        waiting = await busy_line(clerk)
        setting = asyncio.create_task(clerk.commands.set(from_bench_by(clerk.clock, "Stirrer/SP", 350), "bob"))
        async with awaiting("it is begun"):
            while clerk.states("b-1") != ["begun"]:
                await asyncio.sleep(0.005)
        clerk.pi.synchronise()
        for _ in range(2):
            clerk.pi.run(1_000)
            await clerk.clock.look()
        clerk.pi.run(29_000)
        assert clerk.clock.wall_ms() < clerk.commands._book.get("b-1").command.valid_until_ms, "it was not put back"
        clerk.wire.fault = None
        assert (await setting).state is State.EXPIRED
        await waiting
        assert not clerk.writes


async def test_settings_may_take_no_commands_of_hosts(clerk_with):
    clerk = clerk_with("[commands]\nremote = false")
    async with clerk.running():
        assert "take no commands" in (await clerk.until_over(clerk.hears("pH/SP", 7.25))).why
        assert (await clerk.commands.set(from_bench(clerk), "bob")).state is State.DONE


async def test_command_that_cannot_be_read_is_said(clerk, caplog):
    async with clerk.running():
        clerk.commands.hear(TagCommand("R1", None, 7.25, clerk.pi.true_ms, "pH/SP", '{"id":7}'))
        assert "cannot be used" in caplog.text


async def test_crowd_of_commands_is_bounded_and_told(clerk):
    async with clerk.running():
        for _ in range(100):
            clerk.hears("Far/SP", 1)
        assert len(clerk.commands._tasks) <= 64
        ends = [await clerk.until_over(f"c-{number + 1}") for number in range(100)]
    assert {str(end.state) for end in ends} == {"refused"}
    assert [end.why for end in ends[64:]] == ["64 others are under way"] * 36


@pytest.mark.parametrize(
    ("written", "state", "why"),
    [
        (Written(True, 7.1, 7.1), State.DONE, ""),
        (Written(True, 7.1), State.DONE, ""),
        (Written(False, 7.1, 7.1, "no reply"), State.DONE, ""),
        (Written(False, 7.1, None, "no reply"), State.NOT_CONFIRMED, "no reply"),
        (Written(False, 7.1, 7.0, "no reply"), State.NOT_CONFIRMED, "no reply; it holds 7.0, not 7.1"),
        (Written(True, 7.1, 7.0), State.NOT_CONFIRMED, "it holds 7.0, not 7.1"),
        (Written(True, True, False), State.NOT_CONFIRMED, "it holds False, not True"),
        (Written(True, "N2", "N2"), State.DONE, ""),
    ],
)
def test_what_the_instrument_holds_decides(written, state, why):
    assert (_end_of(written).state, _end_of(written).why) == (state, why)
