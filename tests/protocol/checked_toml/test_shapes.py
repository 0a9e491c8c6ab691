"""A location of pydantic's leads to the key that stands in the file, through unions of every kind that we use."""

from typing import Annotated, Literal

import pytest
from lms_protocol.checked_toml.explaining import explain, written_path
from lms_protocol.checked_toml.findings import STRICT
from pydantic import BaseModel, Discriminator, Field, Tag, ValidationError


class Round(BaseModel):
    model_config = STRICT
    kind: Literal["round"]
    radius: float


class Square(BaseModel):
    model_config = STRICT
    kind: Literal["square"]
    side: float
    inner: Round | None = None


def _letter(table: object) -> str:
    return str(table.get("letter", "a")) if isinstance(table, dict) else "?"


class Plain(BaseModel):
    model_config = STRICT
    letter: str = "a"
    count: int = Field(0, ge=0)


class Other(BaseModel):
    model_config = STRICT
    letter: Literal["b"]
    names: dict[str, Plain]


class Drawing(BaseModel):
    model_config = STRICT
    shapes: Annotated[
        tuple[Annotated[Round | Square, Field(discriminator="kind")], ...], Field(strict=False, alias="shape")
    ] = ()
    lettered: Annotated[Annotated[Plain, Tag("a")] | Annotated[Other, Tag("b")], Discriminator(_letter)] = Plain()
    one: Round | Square | None = Field(None, discriminator="kind")
    size: int | str = 0


CASES = [
    ({"shape": [{"kind": "square", "side": "2"}]}, "shape[#1].side", '"2"', "a number"),
    ({"shape": [{"kind": "round", "side": 2.0, "radius": 1.0}]}, "shape[#1].side", "an unknown key", "kind, radius"),
    ({"shape": [{"kind": "oval"}]}, "shape[#1].kind", '"oval"', '"round" or "square"'),
    ({"shape": [{}]}, "shape[#1].kind", "nothing", '"round" or "square"'),
    (
        {"shape": [{"kind": "square", "side": 1.0, "inner": {"kind": "round", "radios": 1}}]},
        "shape[#1].inner.radios",
        "an unknown key",
        'perhaps "radius"',
    ),
    ({"lettered": {"count": -1}}, "lettered.count", "-1", "at least 0"),
    ({"lettered": {"letter": "b", "names": {"x": {"count": True}}}}, "lettered.names.x.count", "true", "whole number"),
    ({"lettered": {"letter": "b", "names": {"x": {"cuont": 1}}}}, "lettered.names.x.cuont", "an unknown key", "count"),
    ({"one": {"kind": "round", "radius": "big"}}, "one.radius", '"big"', "a number"),
    ({"size": 1.5}, "size", "1.5", "whole number"),
    ({"shapes": []}, "shapes", "an unknown key", 'perhaps "shape"'),
]


@pytest.mark.parametrize(("document", "key", "found", "allowed"), CASES, ids=lambda case: str(case)[:60])
def test_error_is_found_at_the_key_of_the_file(document, key, found, allowed):
    with pytest.raises(ValidationError) as caught:
        Drawing.model_validate(document)
    findings = explain(caught.value, document, Drawing)
    assert any(
        written_path(finding.path, document) == key and finding.found == found and allowed in finding.allowed
        for finding in findings
    ), findings
