"""Who may open `/ws/live-data`, and what: everyone else is refused before anything is said."""

import json

import pytest
import websockets


async def subscribe(server, bioreactor, **more):
    """Subscribe and give the first message."""
    async with websockets.connect(server.socket, **more) as socket:
        await socket.send(json.dumps({"type": "subscribe", "bioreactor": str(bioreactor)}))
        return json.loads(await socket.recv())


async def test_member_sees_by_header_by_query_and_by_cookie(serving, plant, member, tags):
    token = member.bearer["Authorization"].removeprefix("Bearer ")
    cookie = "; ".join(f"{name}={value}" for name, value in member.cookies.items())
    async with serving() as server:
        for more in (
            {"additional_headers": member.bearer},
            {"additional_headers": {"Cookie": cookie}, "origin": server.url},
        ):
            message = await subscribe(server, plant.r1.id, **more)
            assert message["type"] == "history"
            assert [tag["name"] for tag in message["tags"]] == ["Counter", "DO/PV", "Phase", "Pump", "pH/PV"]
        async with websockets.connect(f"{server.socket}?token={token}"):
            pass


@pytest.mark.parametrize("how", ["nothing", "wrong token", "foreign page with cookie", "foreign page with token"])
async def test_others_are_refused_before_the_socket_is_accepted(serving, member, how):
    cookie = "; ".join(f"{name}={value}" for name, value in member.cookies.items())
    more = {
        "nothing": {},
        "wrong token": {"additional_headers": {"Authorization": "Bearer nonsense"}},
        "foreign page with cookie": {"additional_headers": {"Cookie": cookie}, "origin": "https://evil.example"},
        "foreign page with token": {"additional_headers": member.bearer, "origin": "https://evil.example"},
    }[how]
    async with serving() as server:
        with pytest.raises(websockets.InvalidStatus) as caught:
            await websockets.connect(server.socket, **more)
    assert caught.value.response.status_code == 403


async def test_bioreactor_of_another_organization_closes_the_socket(serving, plant, stranger):
    async with serving() as server:
        with pytest.raises(websockets.ConnectionClosed) as caught:
            await subscribe(server, plant.r1.id, additional_headers=stranger.bearer)
    assert caught.value.rcvd.code == 1008


@pytest.mark.parametrize(
    "request_",
    [
        "nonsense",
        b"\x00\xff\x01",
        b"",
        '{"type":"subscribe"}',
        '{"type":"subscribe","bioreactor":"x"}',
        '{"type":"subscribe","bioreactor":"11111111-1111-4111-8111-111111111111","max_points":9}',
        '{"type":"subscribe","bioreactor":"11111111-1111-4111-8111-111111111111","window_s":-1}',
        '{"type":"open","bioreactor":"11111111-1111-4111-8111-111111111111"}',
    ],
)
async def test_request_that_cannot_be_read_is_answered_and_the_socket_stays(serving, plant, member, request_):
    async with serving() as server, websockets.connect(server.socket, additional_headers=member.bearer) as socket:
        await socket.send(request_)
        assert json.loads(await socket.recv())["type"] == "error"
        await socket.send(json.dumps({"type": "subscribe", "bioreactor": str(plant.r1.id)}))
        assert json.loads(await socket.recv())["type"] == "history"
