"""`lms-agent calibrate` with instruments that keep their calibration themselves: told once, and believed."""

import asyncio
import json
import threading
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from lms_agent.bench import NotTaken
from lms_agent.calibration.at_bench import InDoubt, Shown, at_bench
from lms_agent.calibration.keeping import NO_TIME
from lms_agent.calibration.making import Wish, calibratable, maker
from lms_agent.calibration.record import Measured
from lms_agent.calibration.session import chosen_of
from lms_agent.calibration.store import Calibrations, load, store_path
from lms_agent.cli.calibration.guide import Guide
from lms_agent.service import Service
from lms_agent.service.door import Door
from lms_agent.service.errors import ServiceRefused
from lms_agent.service.socket_file import socket_path
from lms_agent.settings import load_settings
from lms_firmware_sim.instruments.ezo_ph import EzoPh
from lms_firmware_sim.instruments.hamilton_ph import HamiltonPh
from lms_firmware_sim.instruments.ph_electrode import PhElectrode
from lms_firmware_sim.wires import RtuWire, TextWire
from lms_protocol.reading import Quality
from support.patience import awaiting

CONFIGURATION = """\
[agent]
id = "agent-1"
group = "demo-org"
log = "log.sqlite3"
profiles = "profiles"
[broker]
url = "mqtt://127.0.0.1:1"
account = "agent-1"
password_file = "secret"
[[bioreactor]]
id = "R1"
[[bus]]
id = "line"
kind = "{kind}"
port = "{port}"
[[instrument]]
id = "probe"
bus = "line"
bioreactor = "R1"
profile = "{profile}"
"""
WHO = ("--by", "Ada", "--why", "weekly")


class Buffer:
    """What the electrode stands in."""

    ph = 7.01


@pytest.fixture
def configured(tmp_path: Path) -> Any:
    """`configured(kind, port, profile)`: a configuration, with a profile that is as patient as a test."""

    def write(kind: str, port: str, profile: str) -> Path:
        (tmp_path / "secret").touch(0o600)
        (tmp_path / "secret").write_text("x")
        text = (files("lms_protocol.instruments") / "profiles" / f"{profile}.toml").read_text(encoding="utf-8")
        lines = [
            "stability = { window_s = 0.5, drift_per_min = 1.0 }" if line.startswith("stability = ") else line
            for line in text.splitlines()
        ]
        (tmp_path / "profiles").mkdir(exist_ok=True)
        (tmp_path / "profiles" / f"{profile}.toml").write_text("\n".join(lines), encoding="utf-8")
        path = tmp_path / "agent.toml"
        path.write_text(CONFIGURATION.format(kind=kind, port=port, profile=profile))
        return path

    return write


def electrode(buffer: Buffer) -> PhElectrode:
    now = iter(range(0, 10**9, 10_000))  # long enough for every drift to end
    return PhElectrode(lambda: buffer.ph, lambda: 25.0, slope_percent=92.0, offset_mv=12.0, clock=lambda: next(now))


@pytest.fixture
def circuit() -> EzoPh:
    return EzoPh(electrode(Buffer()), reading_s=0.0, setting_s=0.0, streaming_s=0.0)


async def test_circuit_is_told_once_beside_a_running_agent(
    circuit: EzoPh, configured: Any, start_agent: Any, agent_command: Any
) -> None:
    async with TextWire([circuit]) as wire:
        config = configured("serial", wire.address, "atlas-ezo-ph")
        async with start_agent(config) as agent:
            await agent.until_batches(2)
            code, out, words = await agent_command("calibrate", "pH", "-c", config, "--yes", "-r", "mid=7.01", *WHO)
            assert (code, words) == (0, "")
            assert "probe has taken mid = 7.01." in out
            assert "Calibration 1 of pH/PV of R1 holds" in out
            await agent.until_batches(agent.head() + 3)
            assert await agent.end() == 0
        assert [point.ph for point in circuit.points.values()] == [7.01]
        (made,) = load(agent.log).history
        assert (made.kind, made.slope_percent) == ("instrument", None)
        assert set(made.doubts) <= {NO_TIME}, "where the computer was booted a moment ago"
        assert made.zero == pytest.approx(-0.2, abs=0.1), "what it showed too much before"
        code, out, _ = await agent_command("read", "--json", config)
        read = {each["tag"]: each["value"] for each in json.loads(out)["readings"]}
        assert (read["pH/PV"], read["pH/Calibration"]) == (pytest.approx(7.01, abs=0.01), 1)
        assert "pH/RAW" not in read


async def test_sensor_that_does_not_take_a_reference_leaves_no_calibration(configured: Any, agent_command: Any) -> None:
    sensor = HamiltonPh(electrode(Buffer()))
    async with RtuWire({1: sensor}) as wire:
        config = configured("modbus-rtu", wire.address, "hamilton-arc-ph")
        command = ("calibrate", "pH", "-c", config, "--yes", "-r", "CP1=10.01", *WHO)  # but it stands in pH 7
        code, out, words = await agent_command(*command)
        assert code == 1
        assert "CP1 was not told to probe: the offset is" in " ".join(words.split())
        code, out, words = await agent_command(*command, "--accept")
        assert code == 1
        assert "the instrument did not take 'CP1': CP1: " in " ".join(words.split())
        assert load(config.parent / "log.sqlite3").history == ()
        code, out, _ = await agent_command("calibrate", "pH", "-c", config, "--yes", "-r", "CP2=7.01", *WHO)
        assert code == 0, out
        code, _, words = await agent_command("calibrate", "pH", "-c", config, "--clear", *WHO)
        assert (code, "is calibrated in its instrument" in " ".join(words.split())) == (2, True)


class Stub:
    """A place where the second reference ends as the test says."""

    def __init__(self, second: BaseException) -> None:
        self._second = second
        self.told: list[str] = []
        self._at_ms = 0

    def read(self, able: Any) -> Shown:
        self._at_ms += 200
        return Shown(self._at_ms, 7.0, Quality.GOOD)

    def adjust(self, able: Any, chosen: Any) -> None:
        self.told.append(chosen.reference.name)
        if len(self.told) == 2:
            raise self._second

    def slope_percent(self, able: Any) -> float | None:
        return 91.5

    def held(self) -> Calibrations:
        return Calibrations()


@pytest.mark.parametrize(
    ("second", "points", "in_doubt"),
    [
        (InDoubt("no reply"), ["CP2", "CP1"], True),
        (NotTaken("pH/PV", "CP1", "unstable"), ["CP2"], False),
        (KeyboardInterrupt(), ["CP2", "CP1"], True),
    ],
)
async def test_what_an_instrument_was_told_is_kept_whatever_comes_after(
    configured: Any, monkeypatch: pytest.MonkeyPatch, second: BaseException, points: list[str], in_doubt: bool
) -> None:
    (able,) = calibratable(load_settings(configured("modbus-rtu", "/dev/null", "hamilton-arc-ph")))
    monkeypatch.setattr("lms_agent.cli.calibration.guide.time.sleep", lambda _: None)
    guide = Guide(Stub(second), able, silent=True, words=False, accept=True)  # type: ignore[arg-type]
    made = guide.measure([chosen_of(able.procedure, name) for name in ("CP2", "CP1")])
    assert [point.name for point in made.points] == points
    assert made.in_doubt is in_doubt
    assert made.slope_percent == (91.5 if len(points) == 2 else None)
    (remark,) = made.remarks
    assert remark == f"ended early: {str(second) or 'by hand'}"


async def test_reference_that_was_taken_is_kept_if_the_technician_ends_it_before_the_next(
    configured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (able,) = calibratable(load_settings(configured("modbus-rtu", "/dev/null", "hamilton-arc-ph")))
    stub = Stub(InDoubt("not reached"))

    def sleep(_: float) -> None:
        if stub.told:
            raise KeyboardInterrupt

    monkeypatch.setattr("lms_agent.cli.calibration.guide.time.sleep", sleep)
    guide = Guide(stub, able, silent=True, words=False, accept=True)  # type: ignore[arg-type]
    made = guide.measure([chosen_of(able.procedure, name) for name in ("CP2", "CP1")])
    assert ([point.name for point in made.points], made.remarks) == (["CP2"], ["ended early: by hand"])


async def test_readings_are_doubtful_while_an_adjustment_is_not_written_down(
    circuit: EzoPh, configured: Any, start_agent: Any, agent_command: Any
) -> None:
    """Whoever told the circuit is killed before the calibration is kept; and so is the agent."""
    async with TextWire([circuit]) as wire:
        config = configured("serial", wire.address, "atlas-ezo-ph")

        async def quality() -> str:
            _, out, _ = await agent_command("read", "--json", config)
            (reading,) = (each for each in json.loads(out)["readings"] if each["tag"] == "pH/PV")
            return str(reading["quality"])

        async with start_agent(config) as agent:
            await agent.until_batches(2)
            assert await quality() == "GOOD"

            def tell(part: str) -> None:
                service = Service.of(agent.log)
                assert service is not None
                with service:
                    service.tell("R1", "pH/PV", part, None)

            with pytest.raises(ServiceRefused, match="no reference 'deep'"):
                await asyncio.to_thread(tell, "deep")
            assert await quality() == "GOOD", "nothing was sent"
            await asyncio.to_thread(tell, "mid")
            assert len(circuit.points) == 1
            assert await quality() == "UNCERTAIN"
            agent.process.kill()
            await agent.process.wait()
        async with start_agent(config) as agent:
            await agent.until_batches(agent.head() + 2)
            assert await quality() == "UNCERTAIN"
            code, out, _ = await agent_command("calibrations", "--config", config)
            assert (code, "what came of it is not known" in " ".join(out.split())) == (1, True)
            code, out, words = await agent_command("calibrate", "pH", "-c", config, "--yes", "-r", "mid=7.01", *WHO)
            assert (code, words) == (0, "")
            assert await quality() == "GOOD"
            assert await agent.end() == 0


async def test_nothing_is_kept_if_the_first_reference_is_not_taken(
    configured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (able,) = calibratable(load_settings(configured("modbus-rtu", "/dev/null", "hamilton-arc-ph")))
    monkeypatch.setattr("lms_agent.cli.calibration.guide.time.sleep", lambda _: None)
    stub = Stub(NotTaken("pH/PV", "CP1", "unstable"))
    stub.told.append("an earlier one")
    guide = Guide(stub, able, silent=True, words=False, accept=True)  # type: ignore[arg-type]
    with pytest.raises(NotTaken):
        guide.measure([chosen_of(able.procedure, "CP1")])


async def test_agent_that_has_begun_meanwhile_keeps_what_was_measured_without_one(configured: Any) -> None:
    """It has read the file already: a line that somebody else adds would hold from its next start on only."""
    settings = load_settings(configured("modbus-rtu", "/dev/null", "hamilton-arc-ph"))
    (able,) = calibratable(settings)
    wish = Wish(*able.key, (Measured("CP1", 4.01, 4.0, 9, 0.0, True),), "Ada", "weekly")
    asked: list[Any] = []

    async def answer(question: Any) -> dict[str, Any]:
        asked.append(question.what["tag"])
        made = maker(settings, wish, now_ms=1, account=question.account)(Calibrations())
        return {"calibration": made.to_json()}

    opened, entered = threading.Event(), threading.Event()

    def calibrate() -> None:
        with at_bench(settings, able.instrument, "ada") as bench:
            entered.set()
            assert opened.wait(60)
            bench.keep(wish, "ada")

    calibrating = asyncio.create_task(asyncio.to_thread(calibrate))
    assert await asyncio.to_thread(entered.wait, 60)
    path = socket_path(settings.agent.log)
    door = asyncio.create_task(Door(path, {"calibrate": answer}).run())
    async with awaiting("the door is open"):
        while not path.exists():
            await asyncio.sleep(0.01)
    opened.set()
    await calibrating
    door.cancel()
    await asyncio.wait((door,))
    assert asked == ["pH/PV"]
    assert not store_path(settings.agent.log).exists()


async def test_agent_that_fails_while_it_tells_a_reference_leaves_doubt(configured: Any) -> None:
    settings = load_settings(configured("serial", "/dev/null", "atlas-ezo-ph"))
    (able,) = calibratable(settings)

    async def fail(_: Any) -> dict[str, Any]:
        raise RuntimeError("nobody foresaw this")

    def adjust() -> None:
        with at_bench(settings, able.instrument, "ada") as bench:
            bench.adjust(able, chosen_of(able.procedure, "mid"))

    path = socket_path(settings.agent.log)
    door = asyncio.create_task(Door(path, {"tell": fail}).run())
    async with awaiting("the door is open"):
        while not path.exists():
            await asyncio.sleep(0.01)
    with pytest.raises(InDoubt, match="nobody foresaw this"):
        await asyncio.to_thread(adjust)
    door.cancel()
    await asyncio.wait((door,))


async def test_technician_may_think_for_longer_than_the_door_is_held_open(
    configured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings(configured("modbus-rtu", "/dev/null", "hamilton-arc-ph"))
    (able,) = calibratable(settings)
    monkeypatch.setattr("lms_agent.service.door.IDLE_S", 0.05)

    async def answer(_: Any) -> dict[str, Any]:
        return Calibrations().to_json()

    def ask_twice() -> None:
        with at_bench(settings, able.instrument, "ada") as bench:
            bench.held()
            time.sleep(0.5)
            bench.held()

    path = socket_path(settings.agent.log)
    door = asyncio.create_task(Door(path, {"calibrations": answer}).run())
    async with awaiting("the door is open"):
        while not path.exists():
            await asyncio.sleep(0.01)
    await asyncio.to_thread(ask_twice)
    door.cancel()
    await asyncio.wait((door,))
