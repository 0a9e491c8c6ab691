"""What the simulation has found, each as the shortest plan that showed it."""

from lms_agent.log.limits.retention import Limits

from simulation.plan import ClockPlan, Fault, Plan, Scan
from simulation.world import run


def test_a_group_taken_over_while_the_broker_stalls_is_heard_once_it_answers_again():
    """The worker held the lease, its connection lived on, but its subscription had timed out and was not repeated."""
    plan = Plan(
        seed=388,
        agents={"agent-1": ("R10", "R11")},
        groups={"agent-1": "acme"},
        workers=("ingest-0", "ingest-1"),
        scans=(Scan(62.0, "agent-1", "R10", 2),),
        faults=(
            Fault(33.415, "end_lease", "ingest-1"),
            Fault(40.929, "kill_worker", "ingest-0", 0.0, 150),
            Fault(50.157, "hang_link", "ingest-1", 15.4),
        ),
    )
    assert run(plan).failure == ""


def test_the_host_is_online_again_when_a_leader_was_in_doubt_while_another_led_and_died():
    """Its own STATE connection had stood all the while; nobody outdid the dead one's will, and no agent sent again."""
    plan = Plan(
        seed=23099,
        agents={"agent-0": ("R00", "R01")},
        groups={"agent-0": "acme"},
        workers=("ingest-0", "ingest-1"),
        scans=(Scan(61.5, "agent-0", "R00", 2),),
        faults=(
            Fault(45.113, "cut_off_lease", "ingest-1", 14.3),
            Fault(59.408, "kill_worker", "ingest-0", 8.5, 4),
        ),
    )
    assert run(plan).failure == ""


def test_an_empty_log_brought_back_is_sent_to_its_end_like_any_other():
    """It was taken for acknowledged up to -1, which no birth can say: its turn failed, again and again."""
    plan = Plan(
        seed=53,
        agents={"agent-0": ("R00",)},
        groups={"agent-0": "acme"},
        workers=("ingest-0",),
        scans=(Scan(2.8, "agent-0", "R00", 2),),
        faults=(Fault(2.706, "bring_back", "agent-0", 0.4),),
    )
    assert run(plan).failure == ""


def test_a_full_log_of_readings_with_a_wrong_clock_is_sent_once_the_time_is_known():
    """The correction found no room in the log, and nothing could make room before the correction was written."""
    plan = Plan(
        seed=152,
        agents={"agent-0": ("R00", "R01")},
        groups={"agent-0": "acme"},
        workers=("ingest-0",),
        scans=tuple(Scan(2.0 * n, "agent-0", f"R0{n % 2}", 4) for n in range(1, 29)),
        faults=(),
        clocks={"agent-0": ClockPlan(well_at_start=False, synchronised_after_s=1e9, has_chip=False)},
        limits=Limits(max_bytes=100_000),
        text_length=2500,
    )
    assert run(plan).failure == ""


def test_readings_logged_anew_after_each_of_two_old_images_are_stored_once():
    """The second image had forgotten what was logged anew after the first one, and logged it anew once more."""
    plan = Plan(
        seed=390,
        agents={"agent-0": ("R00",)},
        groups={"agent-0": "org-agent-0"},
        workers=("ingest-1",),
        scans=(Scan(15.986, "agent-0", "R00", 2), Scan(36.771, "agent-0", "R00", 3), Scan(44.369, "agent-0", "R00", 3)),
        faults=(
            Fault(34.273, "bring_back", "agent-0", 10.047),
            Fault(39.21, "cut_link", "ingest-1", 0.112),
            Fault(46.396, "bring_back", "agent-0", 8.016),
        ),
        live_limit=2,
        backlog_limit=1,
        packed_limit=16,
        room=4,
        limits=Limits(keep_days=0.5 / 86_400),
    )
    assert run(plan).failure == ""


def test_word_about_what_the_disk_before_had_sent_is_not_taken_for_its_own_by_a_copy():
    """The cloud committed it, late, when the copy had sent another batch under the number, which then never came."""
    scans = (
        *((0.656, 1), (2.981, 2), (3.202, 2), (3.258, 2), (3.75, 2), (4.184, 3), (4.303, 2)),
        *((5.579, 2), (7.756, 3), (7.965, 3), (8.194, 2), (8.833, 3), (10.291, 1), (10.713, 1)),
        *((10.84, 3), (11.482, 2), (12.693, 1), (12.976, 3), (20.578, 1), (22.37, 3)),
    )
    plan = Plan(
        seed=1,
        agents={"agent-0": ("R00",)},
        groups={"agent-0": "acme"},
        workers=("ingest-0",),
        scans=tuple(Scan(at_s, "agent-0", "R00", readings) for at_s, readings in scans),
        faults=(Fault(16.235, "slow_database", "", 11.358), Fault(20.397, "bring_back", "agent-0", 0.612)),
        live_limit=16,
        packed_limit=16,
        backlog_limit=8,
    )
    assert run(plan).failure == ""
