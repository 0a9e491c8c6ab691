"""Which model a table of a file is checked against: a walk over pydantic's fields beside the document.

`explaining.py` asks here for the keys that would have been known, and for the places that pydantic means: in its
locations stand names of union members, which no file has.
"""

from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, Discriminator, Tag
from pydantic.fields import FieldInfo

from lms_protocol.checked_toml.findings import KeyPath


class Shape(NamedTuple):
    """What may stand at one place: an annotation, and what tells the members of its union apart, if it is one."""

    annotation: Any
    discriminator: str | Callable[[Any], Any] | None = None


def step_into(here: Any, step: str | int) -> Any:
    """The value below a table or array; None if there is none."""
    try:
        return here[step]
    except (KeyError, IndexError, TypeError):
        return None


def value_at(document: Mapping[str, Any], path: KeyPath) -> Any:
    """The value at a key path; None if there is none."""
    here: Any = document
    for step in path:
        here = step_into(here, step)
    return here


def model_at(root: type[BaseModel], document: Mapping[str, Any], path: KeyPath) -> type[BaseModel] | None:
    """The model that the table at `path` is checked against; None if its table does not say."""
    shape, here = _plain(Shape(root), document), document
    for step in path:
        here = step_into(here, step)
        shape = _plain(_below(shape, step), here)
    return _model(shape)


def document_path(root: type[BaseModel], document: Mapping[str, Any], location: Sequence[str | int]) -> KeyPath:
    """Pydantic's location of an error without the names of union members."""
    shape, here = Shape(root), document
    path: list[str | int] = []
    steps = list(location)
    while steps:
        bare = _unwrapped(shape)
        if len(_members(bare)) > 1:
            chosen = _plain(shape, here)
            if steps[0] not in _keys(here) or bare.discriminator is not None:
                steps.pop(0)  # the member's name
            if not steps:
                break
            shape = chosen
        step = steps.pop(0)
        path.append(step)
        here = step_into(here, step)
        shape = _below(_plain(shape, here), step)
    return tuple(path)


def keys_of(model: type[BaseModel]) -> list[str]:
    """The keys that a table may have, as they stand in a file."""
    return [field.alias or name for name, field in model.model_fields.items()]


def tags_of(root: type[BaseModel], document: Mapping[str, Any], path: KeyPath) -> list[str]:
    """The values that the key which tells the members of the union at `path` apart may have."""
    shape, here = Shape(root), document
    for step in path:
        shape = _below(_plain(shape, here), step)
        here = step_into(here, step)
    bare = _unwrapped(shape)
    return [tag for member in _members(bare) for tag in _tags(member, bare.discriminator)]


def _keys(here: Any) -> Sequence[Any]:
    return list(here) if isinstance(here, Mapping) else range(len(here)) if isinstance(here, list) else ()


def _below(shape: Shape, step: str | int) -> Shape:
    """What may stand one step below a plain shape."""
    model = _model(shape)
    if model is not None:
        for name, field in model.model_fields.items():
            if step == (field.alias or name):
                return _of_field(field)
        return Shape(Any)
    arguments = get_args(shape.annotation)
    if get_origin(shape.annotation) in (tuple, list) and isinstance(step, int):
        return Shape(arguments[0])
    if get_origin(shape.annotation) is dict:
        return Shape(arguments[1])
    return Shape(Any)


def _of_field(field: FieldInfo) -> Shape:
    said = [entry.discriminator for entry in field.metadata if isinstance(entry, Discriminator)]
    discriminator = field.discriminator or (said[0] if said else None)
    if isinstance(discriminator, Discriminator):
        discriminator = discriminator.discriminator
    return Shape(field.annotation, discriminator)


def _unwrapped(shape: Shape) -> Shape:
    """Without `Annotated`, which may say the discriminator."""
    while get_origin(shape.annotation) is Annotated:
        inner, *metadata = get_args(shape.annotation)
        discriminator = shape.discriminator
        for entry in metadata:
            if isinstance(entry, Discriminator):
                discriminator = entry.discriminator
            elif isinstance(entry, FieldInfo) and entry.discriminator is not None:
                discriminator = _of_field(entry).discriminator
        shape = Shape(inner, discriminator)
    return shape


def _members(shape: Shape) -> list[Any]:
    if get_origin(shape.annotation) not in (Union, UnionType):
        return [shape.annotation]
    return [member for member in get_args(shape.annotation) if member is not NoneType]


def _plain(shape: Shape, here: Any) -> Shape:
    """The one member that the value chose; without a choice, the first that is a table of its own."""
    bare = _unwrapped(shape)
    members = _members(bare)
    if len(members) == 1:
        return _unwrapped(Shape(members[0])) if members[0] is not bare.annotation else bare
    if bare.discriminator is None:
        models = [member for member in members if _model(_unwrapped(Shape(member))) is not None]
        return _unwrapped(Shape(models[0] if isinstance(here, Mapping) and models else Any))
    said = bare.discriminator(here) if callable(bare.discriminator) else step_into(here, bare.discriminator)
    for member in members:
        if said in _tags(member, bare.discriminator):
            return _unwrapped(Shape(member))
    return Shape(Any)


def _tags(member: Any, discriminator: str | Callable[[Any], Any] | None) -> list[str]:
    if get_origin(member) is Annotated:
        own = [entry.tag for entry in get_args(member)[1:] if isinstance(entry, Tag)]
        if own:
            return own
    model = _model(_unwrapped(Shape(member)))
    if model is None or not isinstance(discriminator, str) or discriminator not in model.model_fields:
        return []
    annotation = model.model_fields[discriminator].annotation
    return list(get_args(annotation)) if get_origin(annotation) is Literal else []


def _model(shape: Shape) -> type[BaseModel] | None:
    annotation = shape.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
