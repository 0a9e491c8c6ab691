"""The bookkeeping that keeps a reply that lags behind from being believed."""

from hypothesis import given
from hypothesis import strategies as st
from lms_agent.buses.doubt import Doubt
from lms_agent.buses.modbus_frames import ReadRequest, WriteRequest

requests = st.builds(
    ReadRequest,
    st.just(1),
    st.sampled_from([1, 2, 3, 4]),
    st.integers(0, 60000),
    st.integers(1, 125),
)
writes = st.builds(
    WriteRequest.registers, st.just(1), st.integers(0, 60000), st.just(b"\x12\x34"), single=st.booleans()
)


@given(st.lists(requests | writes, max_size=8), requests | writes)
def test_probe_never_looks_like_an_open_request(unanswered, request):
    doubt = Doubt()
    for number, one in enumerate(unanswered):
        doubt.unanswered(one if number % 2 else request)
    probe = doubt.probe_for(request)
    assert not doubt.could_be_answered_by_an_older_reply(probe)
    assert probe.unit == request.unit
    assert probe.count <= 141
    assert isinstance(probe, ReadRequest), "a probe changes nothing"


@given(st.integers(1, 20), requests)
def test_unit_that_never_answers_is_asked_the_real_question_again_and_again(silent_for, request):
    doubt = Doubt()
    asked = []
    for _ in range(silent_for + 6):
        probe = doubt.probe_for(request) if doubt.could_be_answered_by_an_older_reply(request) else request
        asked.append(probe.shape)
        doubt.unanswered(probe)
    assert request.shape in asked[-5:]


def test_unit_is_sure_again_once_its_late_reply_was_seen():
    doubt = Doubt()
    request = ReadRequest(1, 3, 0, 10)
    doubt.unanswered(request)
    assert doubt.could_be_answered_by_an_older_reply(ReadRequest(1, 3, 40, 10))
    assert not doubt.could_be_answered_by_an_older_reply(ReadRequest(1, 3, 0, 9))
    doubt.came_late((3, 20))
    assert not doubt
