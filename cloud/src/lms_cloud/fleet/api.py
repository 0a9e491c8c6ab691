"""REST of the fleet: `/api/v1/bioreactors`, `/agents`, `/tags`. Every member reads, scientists change."""

from uuid import UUID

from fastapi import APIRouter, Depends

from lms_cloud.accounts.dependencies import CurrentUnitOfWork, require_role
from lms_cloud.accounts.roles import Role
from lms_cloud.fleet.answers import AgentAnswer, BioreactorAnswer, TagAnswer
from lms_cloud.fleet.requests import AgentChange, BioreactorChange, NewAgent, NewBioreactor, NewTag, TagChange
from lms_cloud.fleet.service import FleetService

router = APIRouter(prefix="/api/v1", tags=["fleet"])
_EDITORS = [Depends(require_role(Role.SCIENTIST, "change the fleet"))]


@router.get("/bioreactors")
async def list_bioreactors(uow: CurrentUnitOfWork) -> list[BioreactorAnswer]:
    """All bioreactors of the organization, by name."""
    return [BioreactorAnswer.of(each) for each in await FleetService(uow).list_bioreactors()]


@router.post("/bioreactors", status_code=201, dependencies=_EDITORS)
async def create_bioreactor(new: NewBioreactor, uow: CurrentUnitOfWork) -> BioreactorAnswer:
    """Create a bioreactor."""
    return BioreactorAnswer.of(await FleetService(uow).create_bioreactor(**new.model_dump()))


@router.get("/bioreactors/{bioreactor_id}")
async def get_bioreactor(bioreactor_id: UUID, uow: CurrentUnitOfWork) -> BioreactorAnswer:
    """One bioreactor."""
    return BioreactorAnswer.of(await FleetService(uow).get_bioreactor(bioreactor_id))


@router.patch("/bioreactors/{bioreactor_id}", dependencies=_EDITORS)
async def change_bioreactor(bioreactor_id: UUID, change: BioreactorChange, uow: CurrentUnitOfWork) -> BioreactorAnswer:
    """Change what is given; what is left out stays."""
    service = FleetService(uow)
    before = (await service.get_bioreactor(bioreactor_id)).typed
    changed = await service.change_bioreactor(
        bioreactor_id,
        name=change.name,
        description=change.description,
        properties={**before.model_dump(mode="json"), **change.properties()},
        expected_version=change.version,
    )
    return BioreactorAnswer.of(changed)


@router.delete("/bioreactors/{bioreactor_id}", status_code=204, dependencies=_EDITORS)
async def delete_bioreactor(bioreactor_id: UUID, uow: CurrentUnitOfWork) -> None:
    """Retire a bioreactor and its tags; their readings and events are kept."""
    service = FleetService(uow)
    await service.delete(await service.get_bioreactor(bioreactor_id))


@router.get("/bioreactors/{bioreactor_id}/tags")
async def list_tags(bioreactor_id: UUID, uow: CurrentUnitOfWork) -> list[TagAnswer]:
    """All tags of a bioreactor, by name."""
    return [TagAnswer.of(each) for each in await FleetService(uow).list_tags(bioreactor_id)]


@router.post("/tags", status_code=201, dependencies=_EDITORS)
async def create_tag(new: NewTag, uow: CurrentUnitOfWork) -> TagAnswer:
    """Create a tag by hand; agents create theirs by themselves."""
    properties = new.model_dump(mode="json", exclude={"name", "description"})
    return TagAnswer.of(await FleetService(uow).create_tag(new.name, properties, description=new.description))


@router.get("/tags/{tag_id}")
async def get_tag(tag_id: UUID, uow: CurrentUnitOfWork) -> TagAnswer:
    """One tag."""
    return TagAnswer.of(await FleetService(uow).get_tag(tag_id))


@router.patch("/tags/{tag_id}", dependencies=_EDITORS)
async def change_tag(tag_id: UUID, change: TagChange, uow: CurrentUnitOfWork) -> TagAnswer:
    """Change what is given; what is left out stays."""
    service = FleetService(uow)
    before = (await service.get_tag(tag_id)).typed
    changed = await service.change_tag(
        tag_id,
        name=change.name,
        description=change.description,
        properties={**before.model_dump(mode="json"), **change.properties()},
        expected_version=change.version,
    )
    return TagAnswer.of(changed)


@router.delete("/tags/{tag_id}", status_code=204, dependencies=_EDITORS)
async def delete_tag(tag_id: UUID, uow: CurrentUnitOfWork) -> None:
    """Retire a tag; its readings and events are kept."""
    service = FleetService(uow)
    await service.delete(await service.get_tag(tag_id))


@router.get("/agents")
async def list_agents(uow: CurrentUnitOfWork) -> list[AgentAnswer]:
    """All agents of the organization, by name."""
    return [AgentAnswer.of(each) for each in await FleetService(uow).list_agents()]


@router.post("/agents", status_code=201, dependencies=_EDITORS)
async def create_agent(new: NewAgent, uow: CurrentUnitOfWork) -> AgentAnswer:
    """Create an agent."""
    return AgentAnswer.of(await FleetService(uow).create_agent(**new.model_dump()))


@router.get("/agents/{agent_id}")
async def get_agent(agent_id: UUID, uow: CurrentUnitOfWork) -> AgentAnswer:
    """One agent."""
    return AgentAnswer.of(await FleetService(uow).get_agent(agent_id))


@router.patch("/agents/{agent_id}", dependencies=_EDITORS)
async def change_agent(agent_id: UUID, change: AgentChange, uow: CurrentUnitOfWork) -> AgentAnswer:
    """Change what is given; what is left out stays."""
    service = FleetService(uow)
    before = (await service.get_agent(agent_id)).typed
    changed = await service.change_agent(
        agent_id,
        name=change.name,
        description=change.description,
        properties={**before.model_dump(mode="json"), **change.properties()},
        expected_version=change.version,
    )
    return AgentAnswer.of(changed)


@router.delete("/agents/{agent_id}", status_code=204, dependencies=_EDITORS)
async def delete_agent(agent_id: UUID, uow: CurrentUnitOfWork) -> None:
    """Retire an agent that serves no bioreactor any more."""
    service = FleetService(uow)
    await service.delete(await service.get_agent(agent_id))
