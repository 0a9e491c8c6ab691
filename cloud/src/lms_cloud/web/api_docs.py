"""`/api/docs`: the REST interface as one plain page, made from the OpenAPI document at `/api/openapi.json`.

No script and nothing from elsewhere, so it works under the strict content security policy and without the internet.
"""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

_environment = Environment(
    loader=PackageLoader("lms_cloud.web", "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
router = APIRouter(include_in_schema=False)


@router.get("/api/docs", response_class=HTMLResponse)
async def api_docs(request: Request) -> HTMLResponse:
    """Every route with its fields and answers."""
    document = request.app.openapi()
    template = _environment.get_template("pages/api_docs.html")
    return HTMLResponse(template.render(info=document["info"], groups=_groups(document)))


def _groups(document: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The operations by their first tag, in the document's order."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            entry = {
                "method": method.upper(),
                "path": path,
                "summary": operation.get("description") or operation.get("summary", ""),
                "parameters": [_parameter(each) for each in operation.get("parameters", [])],
                "fields": _fields(document, operation),
                "answers": [(code, answer["description"]) for code, answer in operation["responses"].items()],
            }
            groups.setdefault((operation.get("tags") or ["other"])[0], []).append(entry)
    return groups


def _parameter(parameter: dict[str, Any]) -> dict[str, Any]:
    schema = parameter.get("schema", {})
    return {
        "name": parameter["name"],
        "where": parameter["in"],
        "kind": _kind(schema),
        "required": parameter.get("required", False),
        "description": parameter.get("description", ""),
    }


def _fields(document: dict[str, Any], operation: dict[str, Any]) -> list[dict[str, Any]]:
    content = operation.get("requestBody", {}).get("content", {})
    for media in content.values():
        name = media.get("schema", {}).get("$ref", "").rpartition("/")[2]
        model = document.get("components", {}).get("schemas", {}).get(name, {})
        needed = model.get("required", [])
        return [
            {
                "name": field,
                "where": "body",
                "kind": _kind(schema),
                "required": field in needed,
                "description": schema.get("description", ""),
            }
            for field, schema in model.get("properties", {}).items()
        ]
    return []


def _kind(schema: dict[str, Any]) -> str:
    """A type as people read it: "string (uuid)", "number or null"."""
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    kind = str(schema.get("type", "any"))
    if kind == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return f"{kind} ({schema['format']})" if "format" in schema else kind
