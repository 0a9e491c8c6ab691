"""Organizations: whoever creates one owns it, and nobody else knows of it."""

import pytest
from lms_cloud.accounts.roles import Role
from lms_cloud.organizations.service import OrganizationService


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
async def test_creator_becomes_owner_and_works_in_it(new_person, prefix) -> None:
    person = await new_person(organization=None)
    body = {"name": "Fermenta GmbH", "description": "Yeast and more"}
    answer = await person.client.post(f"{prefix}/organizations", json=body, headers=person.bearer)
    assert answer.status_code == 201
    made = answer.json()
    assert (made["name"], made["description"], made["wire_id"], made["current"]) == (
        "Fermenta GmbH",
        "Yeast and more",
        "fermenta-gmbh",
        True,
    )
    me = (await person.client.get("/api/v1/auth/me", headers=person.bearer)).json()
    assert (me["organization_id"], me["role"]) == (made["id"], "owner")
    assert (await person.client.get(f"{prefix}/organizations", headers=person.bearer)).json() == [made]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "   "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({}, "name"),
        ({"name": 5}, "name"),
        ({"name": "X", "description": "x" * 501}, "description"),
        ({"name": "X", "role": "owner"}, "role"),
        ({"name": "X", "organization_id": "00000000-0000-0000-0000-000000000000"}, "organization_id"),
    ],
)
async def test_wrong_field_is_a_problem_that_names_it(new_person, body, field) -> None:
    person = await new_person(organization=None)
    answer = await person.client.post("/api/v1/organizations", json=body, headers=person.bearer)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["field"] == field


async def test_longest_name_and_description_are_taken(new_person) -> None:
    person = await new_person(organization=None)
    body = {"name": "ü" * 100, "description": "d" * 500}
    answer = await person.client.post("/api/v1/organizations", json=body, headers=person.bearer)
    assert answer.status_code == 201, answer.text


async def test_equal_names_get_different_wire_ids(new_person) -> None:
    ana = await new_person("ana@example.org", organization="Fermenta")
    bo = await new_person("bo@example.org", organization="Fermenta")
    ids = [
        (await each.client.get("/api/v1/organizations", headers=each.bearer)).json()[0]["wire_id"] for each in (ana, bo)
    ]
    assert ids[0] == "fermenta"
    assert ids[1].startswith("fermenta-")


async def test_user_with_two_organizations_works_in_one_and_may_enter_the_other(new_person) -> None:
    person = await new_person(organization="First")
    second = await person.client.post("/api/v1/organizations", json={"name": "Second"}, headers=person.bearer)
    listed = (await person.client.get("/api/v1/organizations", headers=person.bearer)).json()
    assert [(each["name"], each["current"]) for each in listed] == [("First", False), ("Second", True)]
    first = listed[0]["id"]
    entered = await person.client.post(f"/api/v1/organizations/{first}/enter", headers=person.bearer)
    assert entered.status_code == 204
    me = (await person.client.get("/api/v1/auth/me", headers=person.bearer)).json()
    assert me["organization_id"] == first != second.json()["id"]


async def test_members_are_managed_by_role(new_person, cloud_database) -> None:
    ana = await new_person("ana@example.org", organization="Fermenta")
    bo = await new_person("bo@example.org", organization=None)
    async with cloud_database.unit_of_work(ana.organization_id, bo.user_id) as uow:
        service = OrganizationService(uow)
        await service.add_member(ana.organization_id, bo.user_id, Role.ADMIN)
        await service.work_in(bo.user_id, ana.organization_id)
    address = f"/api/v1/organizations/{ana.organization_id}/members"
    listed = (await bo.client.get(address, headers=bo.bearer)).json()
    assert [(each["email"], each["role"]) for each in listed] == [
        ("ana@example.org", "owner"),
        ("bo@example.org", "admin"),
    ]
    # An admin may not make himself owner, nor remove the owner; the only owner may not step down.
    for method, user, body in (
        ("PATCH", bo.user_id, {"role": "owner"}),
        ("PATCH", ana.user_id, {"role": "viewer"}),
        ("DELETE", ana.user_id, None),
    ):
        sent = {} if body is None else {"json": body}
        answer = await bo.client.request(method, f"{address}/{user}", headers=bo.bearer, **sent)
        assert answer.status_code == 403
    stepped = await ana.client.patch(f"{address}/{ana.user_id}", json={"role": "viewer"}, headers=ana.bearer)
    assert stepped.status_code == 409
    lowered = await ana.client.patch(f"{address}/{bo.user_id}", json={"role": "viewer"}, headers=ana.bearer)
    assert lowered.status_code == 204
    removed = await ana.client.delete(f"{address}/{bo.user_id}", headers=ana.bearer)
    assert removed.status_code == 204
    me = (await bo.client.get("/api/v1/auth/me", headers=bo.bearer)).json()
    assert (me["organization_id"], me["role"]) == (None, None)


async def test_removed_member_sees_nothing_any_more(new_person, cloud_database) -> None:
    ana = await new_person("ana@example.org", organization="Fermenta")
    bo = await new_person("bo@example.org", organization=None)
    async with cloud_database.unit_of_work(ana.organization_id, bo.user_id) as uow:
        service = OrganizationService(uow)
        await service.add_member(ana.organization_id, bo.user_id, Role.VIEWER)
        await service.work_in(bo.user_id, ana.organization_id)
    assert len((await bo.client.get("/api/v1/organizations", headers=bo.bearer)).json()) == 1
    await ana.client.delete(f"/api/v1/organizations/{ana.organization_id}/members/{bo.user_id}", headers=ana.bearer)
    assert (await bo.client.get("/api/v1/organizations", headers=bo.bearer)).json() == []
