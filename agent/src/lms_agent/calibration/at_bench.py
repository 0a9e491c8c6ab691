"""Where a calibration is made: in the running agent, through its door; or here, on buses of our own, if none runs.

    read      the uncorrected value of a tag, now
    adjust    the instrument, if it keeps its calibration itself
    keep      the calibration that came of it

Neighbours: `lms-agent calibrate` uses it; `lms_agent.service` is the door, `lms_agent.bench` asks instruments.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import NamedTuple, Protocol

from lms_protocol.errors import LmsError
from lms_protocol.instruments.calibration import Procedure, Step
from lms_protocol.reading import Quality, Value

from lms_agent.bench import AFTER, BEFORE, Bench, NotObeyed, Visit, opened
from lms_agent.calibration import store
from lms_agent.calibration.adjusting import BEGUN, Adjusting
from lms_agent.calibration.fitting import CalibrationError
from lms_agent.calibration.making import Calibratable, Wish, maker
from lms_agent.calibration.record import Calibration
from lms_agent.calibration.session import Chosen
from lms_agent.calibration.store import Calibrations
from lms_agent.clock import SystemClock
from lms_agent.log.lock import is_written
from lms_agent.service import Service, ServiceRefused, ServiceSilent
from lms_agent.service.client import WITHIN_S
from lms_agent.service.errors import BROKEN
from lms_agent.settings import AgentSettings, InstrumentSettings
from lms_agent.settings.companions import companions_of
from lms_agent.settings.points import InstrumentPoint


class Shown(NamedTuple):
    """What an instrument shows now.

    Attributes:
        value: uncorrected; None if it could not be read.
        reason: why not.
    """

    taken_at_ms: int
    value: Value
    quality: Quality
    reason: str = ""


class InDoubt(CalibrationError):
    """Nobody knows whether an instrument has adjusted itself."""


class AtBench(Protocol):
    """Where a calibration is made."""

    def read(self, able: Calibratable) -> Shown:
        """What the instrument shows now, uncorrected. Waits for the answer."""
        ...

    def adjust(self, able: Calibratable, chosen: Chosen) -> None:
        """Have the instrument adjust itself by the reference in which it is, with the rights that this wants.

        Raises:
            InDoubt: nobody knows whether it did.
            LmsError: it did not.
        """
        ...

    def slope_percent(self, able: Calibratable) -> float | None:
        """How good the probe is, as the instrument says; None if it does not, or cannot be asked."""
        ...

    def keep(self, wish: Wish, account: str) -> Calibration:
        """Keep a calibration.

        Raises:
            CalibrationError, NotPlausible, StoreUnavailable, ServiceError: it was not kept.
        """
        ...

    def held(self) -> Calibrations:
        """All that there ever were."""
        ...


@contextmanager
def at_bench(settings: AgentSettings, instrument: InstrumentSettings, account: str) -> Iterator[AtBench]:
    """The running agent, or buses of our own.

    Args:
        account: whose process this is.

    Raises:
        CalibrationError: an agent runs, but does not answer.
        ServiceError: it may not be asked.
    """
    service = Service.of(settings.agent.log)
    if service is not None:
        service.close()
        yield _Asked(settings, WITHIN_S + _longest_wait_s(instrument))
        return
    if is_written(settings.agent.log):
        raise CalibrationError("an agent runs, but does not answer; restart it (`systemctl restart lms-agent`)")
    with asyncio.Runner() as runner:
        opening = opened(settings, [instrument])
        bench = runner.run(opening.__aenter__())
        try:
            yield _Alone(settings, bench, runner, account)
        finally:
            runner.run(opening.__aexit__(None, None, None))


def _longest_wait_s(instrument: InstrumentSettings) -> float:
    """How long the instrument may be waited for while it is told a reference."""
    procedures = [point.calibration for point in instrument.points if point.calibration is not None]
    return max((step.wait_s for procedure in procedures for step in _steps_of(procedure)), default=0.0)


def _steps_of(procedure: Procedure) -> Iterator[Step]:
    yield from (*procedure.before, *procedure.after)
    for reference in procedure.references:
        yield from reference.steps


class _Asked:
    """The running agent, asked each time on a connection of its own: technicians think for longer than the door is held
    open for, and an answer that comes late is none to the next question.

    Args:
        within_s: how long each answer may take.
    """

    def __init__(self, settings: AgentSettings, within_s: float) -> None:
        self._settings = settings
        self._within_s = within_s

    def _asking(self) -> Service:
        service = Service.of(self._settings.agent.log, self._within_s)
        if service is None:
            raise CalibrationError("the agent has ended meanwhile; look at `lms-agent service status`")
        return service

    def read(self, able: Calibratable) -> Shown:
        with self._asking() as service:
            (visit,) = service.read([able.instrument.id])
        return _shown(visit, able.point)

    def adjust(self, able: Calibratable, chosen: Chosen) -> None:
        def tell(part: str, value: float | None = None) -> None:
            try:
                with self._asking() as service:
                    service.tell(*able.key, part, value)
            except ServiceSilent as error:
                raise InDoubt(str(error)) from error
            except ServiceRefused as error:
                if error.kind in (NotObeyed.__name__, BROKEN):
                    raise InDoubt(str(error)) from error
                raise

        _adjust(able.procedure, chosen, tell)

    def slope_percent(self, able: Calibratable) -> float | None:
        with suppress(LmsError), self._asking() as service:
            return service.slope_percent(*able.key)
        return None

    def keep(self, wish: Wish, account: str) -> Calibration:
        return _kept(self._settings, wish, account, self._within_s)

    def held(self) -> Calibrations:
        with self._asking() as service:
            return service.calibrations()


class _Alone:
    """Buses of our own, and the file."""

    def __init__(self, settings: AgentSettings, bench: Bench, runner: asyncio.Runner, account: str) -> None:
        self._settings = settings
        self._account = account
        self._bench = bench
        self._runner = runner

    def read(self, able: Calibratable) -> Shown:
        (visit,) = self._runner.run(self._bench.read([able.instrument.id]))
        return _shown(visit, able.point)

    def adjust(self, able: Calibratable, chosen: Chosen) -> None:
        def tell(part: str, value: float | None = None) -> None:
            try:
                with self._noted(able, part, value):
                    self._runner.run(self._bench.tell(*able.key, part, value))
            except NotObeyed as error:
                raise InDoubt(str(error)) from error

        _adjust(able.procedure, chosen, tell)

    def slope_percent(self, able: Calibratable) -> float | None:
        with suppress(LmsError):
            return self._runner.run(self._bench.slope_percent(*able.key))
        return None

    def keep(self, wish: Wish, account: str) -> Calibration:
        return _kept(self._settings, wish, account)

    def _noted(self, able: Calibratable, part: str, value: float | None) -> AbstractContextManager[None]:
        if part in (BEFORE, AFTER):
            return nullcontext()
        one = Adjusting(BEGUN, *able.key, part, value, SystemClock().wall_ms(), self._account)
        return store.noted(self._settings.agent.log, one, NotObeyed)

    def held(self) -> Calibrations:
        return store.load(self._settings.agent.log)


def _kept(settings: AgentSettings, wish: Wish, account: str, within_s: float = WITHIN_S) -> Calibration:
    """Keep a calibration, by the agent if one runs now: it may have ended, or begun, since the first reference."""
    service = Service.of(settings.agent.log, within_s)
    if service is not None:
        with service:
            return service.calibrate(wish)
    make = maker(settings, wish, now_ms=SystemClock().wall_ms(), account=account)
    return store.append(settings.agent.log, make)[0]


def _adjust(procedure: Procedure, chosen: Chosen, tell: Callable[..., None]) -> None:
    """Tell a reference between what is told around a calibration, which comes after it in any case."""
    if procedure.before:
        try:
            tell(BEFORE)
        except InDoubt as error:
            raise CalibrationError(f"{error}; it was not told the reference") from error
    try:
        tell(chosen.reference.name, chosen.value)
    finally:
        if procedure.after:
            with suppress(LmsError):  # what became of the reference is what matters
                tell(AFTER)


def _shown(visit: Visit, point: InstrumentPoint) -> Shown:
    """The uncorrected value of a point in what a visit brought."""
    beside = companions_of(point)
    wanted = point.tag if beside is None or beside.raw is None else beside.raw
    for name in (wanted, point.tag):
        for shown in visit.readings:
            if shown.tag == name:
                return Shown(shown.taken_at_ms, shown.value, shown.quality)
    reason = next((missing.reason for missing in visit.failures if point.tag in missing.tags), "it was not read")
    return Shown(SystemClock().wall_ms(), None, Quality.BAD, reason)
