"""Bugs planted into the real code: each is found within so many seeds, or the simulation has become blind."""

from dataclasses import replace
from itertools import islice
from random import Random

import lms_agent.log.limits.upkeep
import lms_agent.log.reader
import lms_cloud.telemetry.ingest.worker
import lms_protocol.edge
import lms_protocol.host
import pytest
from lms_agent.log.keeping import Keeping
from lms_agent.log.limits.retention import remove_through
from lms_cloud.telemetry.incoming import Outcome, Work
from lms_cloud.telemetry.ingest.committing import Committer
from lms_cloud.telemetry.ingest.resolving import Resolved, Resolver
from lms_cloud.telemetry.storage import judging
from lms_protocol.delivery import SendingWindow, StreamLedger
from lms_protocol.host import HostSession

from simulation import quick
from simulation.plan import draw_copies, draw_plan
from simulation.shrinking import report, shorten
from simulation.world import run

WITHIN_SEEDS = 100


def first_failure(seeds=WITHIN_SEEDS):
    """The first run that breaks the promise; fails if none does."""
    for seed in range(seeds):
        result = run(draw_plan(seed))
        if result.failure:
            return result
    pytest.fail(f"none of {seeds} seeds found the planted bug")


@pytest.fixture
def hasty_committer(monkeypatch):
    """Acknowledges before it commits."""

    class HastyCommitter(Committer):
        async def _attempt(self, heard, ahead=None):
            resolved = await self._resolver.resolve(heard)
            outcome = Outcome(settled=[batch.key for batch in resolved.batches if batch.key])
            self._teller.note([(resolved.work(), outcome)], resolved, self._resolver.ledgers)
            await super()._attempt(heard, ahead)

    monkeypatch.setattr(lms_cloud.telemetry.ingest.worker, "Committer", HastyCommitter)


@pytest.fixture
def greedy_retention(monkeypatch):
    """Takes one batch more than it may."""
    monkeypatch.setattr(
        lms_agent.log.limits.upkeep, "remove_through", lambda connection, last: remove_through(connection, last + 1)
    )


@pytest.fixture
def backlog_first(monkeypatch):
    """Sends the whole backlog before anything live."""
    original = SendingWindow.next

    def next_(self, now_s, *, packing=False):
        if not self._backlog:
            return original(self, now_s, packing=packing)
        next_live, self._next_live = self._next_live, self._head + 1
        try:
            return original(self, now_s)
        finally:
            self._next_live = next_live

    monkeypatch.setattr(SendingWindow, "next", next_)


@pytest.fixture
def forgetful_judge(monkeypatch):
    """Takes whatever comes under a number that is committed for the same batch again."""
    settle_all = judging.judge

    def judge(incoming, ledger):
        return settle_all(incoming, {key: entry._replace(dead=True) for key, entry in ledger.items()})

    monkeypatch.setattr(judging, "judge", judge)


def test_finds_who_forgets_to_compare_digests(forgetful_judge):
    """Only an old copy of a log brings another batch under the same number; readings are then missing in the end."""
    plans = (plan for plan in map(draw_plan, range(2000)) if any(fault.kind == "bring_back" for fault in plan.faults))
    failures = (run(plan).failure for plan in islice(plans, WITHIN_SEEDS))
    assert any("missing" in failure or "not all is acknowledged" in failure for failure in failures)


@pytest.fixture
def unmarked_batches(monkeypatch):
    """Sends the batches of all streams under one alias."""
    monkeypatch.setattr(lms_protocol.edge, "marked_alias", lambda stream, number: number)


@pytest.fixture
def credulous_host(monkeypatch):
    """Takes births and packs for what the last NBIRTH told, whatever they say of their stream."""
    monkeypatch.setattr(lms_protocol.host, "_is_another", lambda told, stream: False)


def test_finds_who_does_not_mark_batches_with_their_stream(unmarked_batches):
    """It takes turns of several logs, and messages that overtake births: plans with many images have both."""
    plans = (plan for plan in map(draw_plan, range(20_000)) if many_images(plan))
    failures = (run(plan).failure for plan in islice(plans, 2 * WITHIN_SEEDS))
    assert any("doubled" in failure or "missing" in failure for failure in failures)


@pytest.fixture
def blind_to_copies(monkeypatch):
    """Does not say what a batch was before its times were corrected."""
    monkeypatch.setattr(lms_agent.log.reader, "as_logged", lambda *of: None)


def test_finds_who_stores_readings_with_two_times_from_two_copies(blind_to_copies):
    """It takes an image of a log from before the time was known; the reading then comes with another time."""
    plans = (plan for plan in map(draw_plan, range(20_000)) if images_without_time(plan))
    failures = (run(plan).failure for plan in islice(plans, 2 * WITHIN_SEEDS))
    assert any("doubled" in failure or "altered" in failure or "missing" in failure for failure in failures)


def images_without_time(plan):
    """Whether it is one of the plans in which an old image comes back to a computer whose clock may not be right."""
    clocks = (plan.clocks[fault.target] for fault in plan.faults if fault.kind == "bring_back")
    return any(clock.synchronised_after_s or not clock.well_at_start for clock in clocks)


def many_images(plan):
    """Whether it is one of the plans in which several old images come back."""
    return [fault.kind for fault in plan.faults].count("bring_back") > 1


def test_finds_who_acknowledges_before_the_commit(hasty_committer):
    assert "was acknowledged, but is not committed" in first_failure().failure


def test_finds_who_trims_one_batch_too_many(greedy_retention):
    failure = first_failure().failure
    assert any(said in failure for said in ("not in it any more", "missing", "was lost", "not all is acknowledged"))


def test_finds_who_lets_a_backlog_starve_what_is_live(backlog_first):
    assert "live, was committed" in first_failure().failure


def test_a_failing_seed_prints_itself_and_its_shortest_story(hasty_committer):
    result = first_failure()
    text = report(result)
    assert f"make simulate SEED={result.plan.seed}" in text
    assert "Shortest plan that still fails" in text
    shortest = shorten(result.plan)
    assert len(shortest.faults) <= len(result.plan.faults)
    assert len(shortest.scans) <= 2
    assert run(shortest).failure


@pytest.fixture
def mute_resolver(monkeypatch):
    """Takes readings in, but of what came late no remark: no gap, no clock record."""
    add = Resolver._add

    def add_muted(self, batch, resolved):
        add(self, replace(batch, gaps=(), clock=None) if batch.historical else batch, resolved)

    monkeypatch.setattr(Resolver, "_add", add_muted)


@pytest.fixture
def silent_keeping(monkeypatch):
    """Forgets what found no room in memory, and tells nobody."""

    def drop(self, scan):
        self.state.waiting -= len(scan.readings)

    monkeypatch.setattr(Keeping, "_drop", drop)


@pytest.fixture
def birth_unheard(monkeypatch):
    """Takes an agent's births in, but shows nobody as online."""
    monkeypatch.setattr(Resolved, "work", lambda self: Work(self.batches, self.letters))


def test_finds_who_loses_the_remarks_on_readings(mute_resolver):
    assert "the clock record of batch" in first_failure().failure


def test_finds_who_shows_nobody_as_online(birth_unheard):
    assert "not all is acknowledged and online" in first_failure().failure


def test_finds_who_forgets_scans_in_silence(silent_keeping):
    def loses_scans(plan):
        return plan.room < 60 and plan.of_one_time and any(fault.kind == "fill_disk" for fault in plan.faults)

    plans = filter(loses_scans, map(draw_plan, range(5000)))
    failures = (run(plan).failure for plan in islice(plans, WITHIN_SEEDS))
    assert any("was lost, and no gap tells of it" in failure for failure in failures)


@pytest.fixture
def blind_to_holes(monkeypatch):
    """Acknowledges the highest number instead of the highest below which nothing is missing."""
    original = StreamLedger.acknowledgement

    def acknowledgement(self, settled=()):
        acked, above = original(self, settled)
        return (above.last or acked, above)

    monkeypatch.setattr(StreamLedger, "acknowledgement", acknowledgement)


@pytest.fixture
def forgetful_window(monkeypatch):
    """Never sends again what was not acknowledged in time."""
    monkeypatch.setattr(SendingWindow, "_expire", lambda self, now_s: None)


@pytest.mark.parametrize("bug", ["blind_to_holes", "forgetful_window"])
def test_the_quick_simulation_finds_what_is_wrong_with_the_state_machines(request, bug):
    request.getfixturevalue(bug)
    failures = [failure for failure, _ in map(quick.run, range(WITHIN_SEEDS)) if failure]
    assert any("acknowledged" in failure for failure in failures)


@pytest.mark.parametrize("bug", ["unmarked_batches", "credulous_host"])
def test_the_quick_simulation_finds_who_does_not_look_at_the_mark_of_the_stream(request, bug):
    request.getfixturevalue(bug)
    assert any(failure for failure, _ in map(quick.run, range(3 * WITHIN_SEEDS)))


@pytest.fixture
def word_about_numbers(monkeypatch):
    """Does not say which content it is about."""
    original = HostSession.acknowledgement

    def acknowledgement(self, *args, digests=None, **more):
        return original(self, *args, **more)

    monkeypatch.setattr(HostSession, "acknowledgement", acknowledgement)


def test_finds_who_does_not_say_which_content_is_settled(word_about_numbers):
    plans = (draw_copies(seed, Random(f"{seed}:copies")) for seed in range(WITHIN_SEEDS))
    assert any(run(plan).failure for plan in plans)
