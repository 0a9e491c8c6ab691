"""Ports: which is free, who has it, and that two demos never choose the same."""

import os
import socket

import pytest
from lms_firmware_sim.stand import ports
from lms_firmware_sim.stand.errors import PortBusyError


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_another_port_is_taken_where_the_wanted_one_is_busy(listening):
    assert not ports.is_free(listening)
    port, reservation = ports.reserve_near(listening)
    with reservation:
        assert port != listening
        assert ports.is_free(port)


def test_two_demos_never_choose_the_same_port():
    wanted = ports.free_port()
    first, reservation = ports.reserve_near(wanted)
    second, another = ports.reserve_near(wanted)
    assert first != second
    another.close()
    reservation.close()
    third, again = ports.reserve_near(first)
    again.close()
    assert third == first


def test_a_busy_port_is_named_with_its_holder(listening):
    with pytest.raises(PortBusyError, match=rf"Port {listening} .*the test.*process {os.getpid()}"):
        ports.require_free(listening, "the test")


def test_a_port_is_free_again_right_after_its_connections_closed():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = server.accept()
            accepted.close()
    assert ports.is_free(port)
