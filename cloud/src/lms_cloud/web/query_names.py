"""Refuse query parameters that a route does not know: `?tag=` for `?tags=` must not quietly answer something else."""

from collections.abc import Iterator

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from lms_cloud.kernel.errors import Invalid


def refuse_unknown_parameters(request: Request) -> None:
    """Depend on this in a router.

    Raises:
        Invalid: names the parameter, and those that the route knows.
    """
    route = request.scope.get("route")
    if not isinstance(route, APIRoute) or not request.query_params:
        return
    known = set(_names(route.dependant))
    for name, value in request.query_params.items():
        if name not in known:
            names = ", ".join(sorted(known)) or "none at all"
            raise Invalid(name[:80], value[:80], f"no parameter of this name; known are: {names}")


def _names(dependant: Dependant) -> Iterator[str]:
    """The query parameters of a route and of all that it depends on."""
    yield from (field.alias for field in dependant.query_params)
    for dependency in dependant.dependencies:
        yield from _names(dependency)
