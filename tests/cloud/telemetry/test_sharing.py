"""Fair shares of Sparkplug groups: all is held by someone, nobody holds much more than another."""

from hypothesis import given
from hypothesis import strategies as st
from lms_cloud.telemetry.leases.sharing import SHARDS, fair_share, lock_class, shard_of, to_take

holdings = st.dictionaries(st.integers(1, 1 << 22), st.integers(0, SHARDS), min_size=1, max_size=12)


@given(holdings, st.integers(0, SHARDS))
def test_shares_add_up_to_all_and_differ_by_at_most_one(held, shards):
    shares = [fair_share(worker, held, shards) for worker in held]
    assert sum(shares) == shards
    assert max(shares) - min(shares) <= 1


@given(holdings)
def test_nothing_moves_where_the_holdings_are_fair_already(held):
    least = {worker: 3 + index % 2 for index, worker in enumerate(held)}
    shards = sum(least.values())
    if max(least.values()) - shards // len(least) <= 1:
        assert {worker: fair_share(worker, least, shards) for worker in least} == least


def test_shards_and_classes_stay_what_they_are_in_every_version():
    assert (shard_of("fermenta"), shard_of("acme"), shard_of("organisation-ü")) == SHARDS_OF_NAMES
    assert lock_class("lms-cloud") == CLASS_OF_DEFAULT_HOST


@given(st.sets(st.integers(0, SHARDS - 1)), st.sets(st.integers(0, SHARDS - 1)), st.integers(-5, 300))
def test_what_was_held_before_is_tried_for_first(free, before, count):
    chosen = to_take(count, free, before, start=77)
    assert len(chosen) == min(max(count, 0), len(free))
    assert set(chosen) <= free
    assert len(set(chosen) & before) == min(len(chosen), len(free & before))


SHARDS_OF_NAMES = (213, 129, 166)
CLASS_OF_DEFAULT_HOST = 441983109
