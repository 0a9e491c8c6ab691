"""Topics build and parse to the same ids; ids that would change a topic's meaning are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lms_protocol.errors import TopicError
from lms_protocol.topics import LiveTopic, MessageType, NodeTopic, StateTopic, check_id, node_topic, parse

ids = st.text(st.characters(codec="utf-8", exclude_characters="+#/"), min_size=1, max_size=20).filter(str.isprintable)


@given(ids, st.sampled_from(MessageType), ids, ids)
def test_node_topic_parses_to_its_ids(group: str, type_: MessageType, node: str, device: str) -> None:
    wanted = device if type_.of_device else None
    assert parse(node_topic(group, type_, node, wanted)) == NodeTopic(group, type_, node, wanted)


@given(ids)
def test_state_topic_parses_to_its_host(host: str) -> None:
    assert parse(str(StateTopic(host))) == StateTopic(host)


@given(ids, ids)
def test_live_topic_parses_to_its_ids(group: str, device: str) -> None:
    assert parse(str(LiveTopic(group, device))) == LiveTopic(group, device)


@given(st.text(max_size=60))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        parsed = parse(text)
    except TopicError:
        return
    assert str(parsed) == text


@pytest.mark.parametrize("bad", ["", "a/b", "a+", "#", "a\nb", "\x00", "x" * 129])
def test_id_that_may_not_be_in_a_topic_is_refused_by_name(bad: str) -> None:
    with pytest.raises(TopicError, match="the bioreactor's id"):
        check_id(bad, "the bioreactor's id")


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        ("spBv1.0/g/NBIRTH/n/d", "takes no device"),
        ("spBv1.0/g/DDATA/n", "needs device"),
        ("spBv1.0/g/XDATA/n", "not a Sparkplug message type"),
        ("spBv1.0/g", "levels"),
        ("spBv1.0/g/DDATA/n/d/e", "levels"),
        ("spBv1.0/g/NDATA/", "node is empty"),
        ("other/g/NDATA/n", "not a topic of the feed"),
        ("lms/live/g", "not a topic of the feed"),
    ],
)
def test_topic_of_wrong_shape_is_refused_with_its_reason(topic: str, reason: str) -> None:
    with pytest.raises(TopicError, match=reason):
        parse(topic)


def test_data_topic_without_device_cannot_be_built() -> None:
    with pytest.raises(TopicError, match="device messages need a device"):
        node_topic("g", MessageType.DDATA, "n")
