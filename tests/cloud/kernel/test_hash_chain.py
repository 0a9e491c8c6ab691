"""The hash chain: any edit, removal, insertion or reordering is found, and by its first event."""

import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from lms_cloud.kernel.hash_chain import GENESIS, Break, Link, canonical_json, first_break, link_hash

TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"), max_size=20)
NUMBER = st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
CONTENT = st.fixed_dictionaries({"kind": TEXT, "actor": TEXT, "before": JSON, "after": JSON})
CHAIN = st.lists(CONTENT, min_size=1, max_size=6)


def chain_of(contents: list[dict]) -> list[Link]:
    links: list[Link] = []
    previous = GENESIS
    for sequence, content in enumerate(contents, start=1):
        digest = link_hash(previous, sequence, content)
        links.append(Link(sequence, previous, digest, content))
        previous = digest
    return links


@given(CHAIN)
def test_untouched_chain_fits(contents: list[dict]) -> None:
    assert first_break(chain_of(contents)) is None


@given(CHAIN, st.data())
def test_any_edit_is_found_at_its_event(contents: list[dict], data: st.DataObject) -> None:
    links = chain_of(contents)
    index = data.draw(st.integers(0, len(links) - 1))
    field = data.draw(st.sampled_from(sorted(links[index].content)))
    value = data.draw(JSON)
    assume(canonical_json(value) != canonical_json(links[index].content[field]))
    links[index] = links[index]._replace(content={**links[index].content, field: value})
    found = first_break(links)
    assert found is not None
    assert found.sequence == index + 1


@given(CHAIN, st.data())
def test_edit_with_a_recomputed_hash_is_found_at_the_next_event(contents: list[dict], data: st.DataObject) -> None:
    assume(len(contents) > 1)
    links = chain_of(contents)
    index = data.draw(st.integers(0, len(links) - 2))
    content = {**links[index].content, "actor": links[index].content["actor"] + "x"}
    digest = link_hash(links[index].previous_hash, index + 1, content)
    links[index] = links[index]._replace(content=content, hash=digest)
    assert first_break(links) == Break(index + 2, "does not continue the event before it")


@given(CHAIN, st.data())
def test_removal_and_doubling_are_found(contents: list[dict], data: st.DataObject) -> None:
    links = chain_of(contents)
    index = data.draw(st.integers(0, len(links) - 1))
    doubled = [*links[: index + 1], *links[index:]]
    assert first_break(doubled) is not None
    assume(index < len(links) - 1)
    found = first_break([*links[:index], *links[index + 1 :]])
    assert found is not None
    assert found.sequence == index + 1


@given(CHAIN)
def test_cut_tail_and_new_chain_are_found_by_the_anchor_alone(contents: list[dict]) -> None:
    links = chain_of(contents)
    anchor = (links[-1].sequence, links[-1].hash)
    cut = links[:-1]
    assert first_break(cut) is None
    found = first_break(cut, anchor)
    assert found is not None
    assert found.sequence == len(links)
    anew = chain_of([{**content, "actor": content["actor"] + "x"} for content in contents])
    assert first_break(anew) is None
    found = first_break(anew, anchor)
    assert found is not None
    assert found.sequence == len(links)
    assert first_break(chain_of([*contents, {"kind": "more"}]), anchor) is None


@given(JSON)
def test_canonical_json_survives_a_json_round_trip(value: object) -> None:
    assert canonical_json(json.loads(canonical_json(value))) == canonical_json(value)


def test_canonical_json_writes_one_thing_one_way() -> None:
    at = datetime(2026, 11, 23, 13, 0, tzinfo=timezone(timedelta(hours=1)))
    assert canonical_json({"b": 1.0, "a": [1e22, -0.0, 0.5]}) == b'{"a":[10000000000000000000000,0,0.5],"b":1}'
    assert canonical_json(at) == canonical_json(at.astimezone(UTC)) == b'"2026-11-23T12:00:00.000000+00:00"'
    identifier = uuid4()
    assert canonical_json(identifier) == json.dumps(str(identifier)).encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "a\x00b", {"a\x00": 1}])
def test_what_the_database_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"NUL|finite"):
        canonical_json(value)
