"""REST of the fleet: what members may do by role, and that another organization's things do not exist."""

from uuid import UUID, uuid4

import psycopg
import pytest
from lms_cloud.accounts.roles import Role
from lms_cloud.organizations.service import OrganizationService


async def make(person, path: str, **body) -> dict:
    answer = await person.client.post(f"/api/v1/{path}", json=body, headers=person.bearer)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_bioreactor_is_created_listed_changed_and_retired(new_person) -> None:
    person = await new_person()
    agent = await make(person, "agents", name="Bench Pi")
    assert agent["wire_id"] == "bench-pi"
    made = await make(person, "bioreactors", name="STR-1", wire_id="R1", agent_id=agent["id"], volume_l=10)
    listed = (await person.client.get("/api/v1/bioreactors", headers=person.bearer)).json()
    assert listed == [made]
    address = f"/api/v1/bioreactors/{made['id']}"
    change = {"location": "Lab 2", "version": 1}
    changed = (await person.client.patch(address, json=change, headers=person.bearer)).json()
    assert (changed["location"], changed["volume_l"], changed["version"]) == ("Lab 2", 10, 2)
    assert (await person.client.patch(address, json=change, headers=person.bearer)).status_code == 409
    cleared = (await person.client.patch(address, json={"location": None}, headers=person.bearer)).json()
    assert cleared["location"] is None
    assert (await person.client.delete(address, headers=person.bearer)).status_code == 204
    assert (await person.client.get(address, headers=person.bearer)).status_code == 404
    assert (await person.client.get("/api/v1/bioreactors", headers=person.bearer)).json() == []


async def test_only_declared_fields_are_returned_and_taken(new_person) -> None:
    person = await new_person()
    made = await make(person, "bioreactors", name="STR-1")
    assert set(made) == {
        *("id", "name", "description", "created_at", "updated_at", "is_active", "version"),
        *("wire_id", "agent_id", "kind", "volume_l", "location"),
    }
    for extra in ({"organization_id": str(uuid4())}, {"role": "owner"}, {"is_active": False}, {"id": str(uuid4())}):
        answer = await person.client.post("/api/v1/bioreactors", json={"name": "X", **extra}, headers=person.bearer)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == next(iter(extra))


async def test_tags_by_hand(new_person) -> None:
    person = await new_person()
    bioreactor = await make(person, "bioreactors", name="STR-1")
    tag = await make(person, "tags", name="pH/PV", bioreactor_id=bioreactor["id"], unit="pH", low=6.8, high=7.2)
    listed = await person.client.get(f"/api/v1/bioreactors/{bioreactor['id']}/tags", headers=person.bearer)
    assert listed.json() == [tag]
    address = f"/api/v1/tags/{tag['id']}"
    bad = await person.client.patch(address, json={"low": 8}, headers=person.bearer)
    assert bad.status_code == 422
    assert "above high" in bad.json()["detail"]
    twice = await person.client.post(
        "/api/v1/tags", json={"name": "pH/PV", "bioreactor_id": bioreactor["id"]}, headers=person.bearer
    )
    assert twice.status_code == 409


@pytest.mark.parametrize("role", list(Role))
async def test_scientists_change_the_fleet_and_viewers_do_not(new_person, cloud_database, role) -> None:
    person = await new_person()
    async with cloud_database.unit_of_work(person.organization_id, person.user_id) as uow:
        await OrganizationService(uow).add_member(person.organization_id, person.user_id, role)
    answer = await person.client.post("/api/v1/bioreactors", json={"name": "STR-1"}, headers=person.bearer)
    assert answer.status_code == (201 if role.includes(Role.SCIENTIST) else 403)
    assert (await person.client.get("/api/v1/bioreactors", headers=person.bearer)).status_code == 200


async def dead_letter(url: str, organization_id: UUID) -> UUID:
    """A letter that an organization has; as only ingest writes them, straight into the table."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        made = await connection.execute(
            "insert into dead_letters (organization_id, kind, topic, payload, digest, reason)"
            " values (%s, 'poison', 'spBv1.0/kefir/DDATA/a/b', 'Secret', '\\x00', 'Secret') returning public_id",
            (organization_id,),
        )
        (letter,) = await made.fetchone()
    return letter


async def test_every_route_answers_a_foreign_id_with_404(app, new_person, migrated_database) -> None:
    ours = await new_person("ana@example.org", organization="Fermenta")
    theirs = await new_person("bo@example.org", organization="Kefir")
    agent = await make(theirs, "agents", name="Secret agent")
    bioreactor = await make(theirs, "bioreactors", name="Secret vessel", agent_id=agent["id"])
    tag = await make(theirs, "tags", name="Secret/PV", bioreactor_id=bioreactor["id"])
    ids = {
        "agent_id": agent["id"],
        "bioreactor_id": bioreactor["id"],
        "tag_id": tag["id"],
        "organization_id": str(theirs.organization_id),
        "user_id": str(theirs.user_id),
        "letter_id": await dead_letter(migrated_database.superuser_url, theirs.organization_id),
        "kind": "csv",
    }
    bodies = {
        "/organizations/{organization_id}/members/{user_id}": {"role": "viewer"},
        "/dead-letters/{letter_id}/dismiss": {"reason": "seen"},
    }
    tried = 0
    for path, methods in app.openapi()["paths"].items():
        if "{" not in path:
            continue
        address = path.format(**ids)
        body = next((each for suffix, each in bodies.items() if path.endswith(suffix)), {"name": "X"})
        for method in methods:
            sent = {} if method in {"get", "delete"} else {"json": body}
            answer = await ours.client.request(method.upper(), address, headers=ours.bearer, **sent)
            assert answer.status_code == 404, f"{method} {path}: {answer.status_code} {answer.text}"
            assert "Secret" not in answer.text
            assert "Kefir" not in answer.text
            tried += 1
    assert tried >= 15


async def test_foreign_ids_in_a_body_are_refused_as_unknown(new_person) -> None:
    ours = await new_person("ana@example.org", organization="Fermenta")
    theirs = await new_person("bo@example.org", organization="Kefir")
    agent = await make(theirs, "agents", name="A")
    bioreactor = await make(theirs, "bioreactors", name="B")
    for path, body in (
        ("bioreactors", {"name": "X", "agent_id": agent["id"]}),
        ("tags", {"name": "X", "bioreactor_id": bioreactor["id"]}),
    ):
        answer = await ours.client.post(f"/api/v1/{path}", json=body, headers=ours.bearer)
        assert answer.status_code == 422


async def test_user_without_an_organization_sees_nothing_and_changes_nothing(new_person) -> None:
    person = await new_person(organization=None)
    assert (await person.client.get("/api/v1/bioreactors", headers=person.bearer)).json() == []
    refused = await person.client.post("/api/v1/bioreactors", json={"name": "STR-1"}, headers=person.bearer)
    assert refused.status_code == 403
    assert "create one first" in refused.json()["detail"]


async def test_get_changes_nothing(app, new_person, cloud_database) -> None:
    from lms_cloud.kernel.events import count_events

    person = await new_person()
    bioreactor = await make(person, "bioreactors", name="STR-1")
    async with cloud_database.unit_of_work(person.organization_id) as uow:
        before = await count_events(uow.session, person.organization_id)
    for path, methods in app.openapi()["paths"].items():
        if "get" in methods:
            address = path.format_map(
                {
                    "bioreactor_id": bioreactor["id"],
                    "tag_id": uuid4(),
                    "agent_id": uuid4(),
                    "organization_id": person.organization_id,
                    "letter_id": uuid4(),
                    "kind": "csv",
                }
            )
            await person.client.get(address, headers=person.bearer)
    async with cloud_database.unit_of_work(person.organization_id) as uow:
        assert await count_events(uow.session, person.organization_id) == before
