"""However wrong a configuration with profiles is, it is told as problems, with a place; nothing else is ever raised."""

import tomllib
from copy import deepcopy
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lms_agent.settings.consistency import contradictions
from lms_agent.settings.expanding import expand
from lms_agent.settings.model import AgentSettings
from lms_protocol.checked_toml.explaining import explain, written_path
from pydantic import ValidationError

GOOD = tomllib.loads((Path(__file__).parent / "cases" / "good-profiles" / "agent.toml").read_text(encoding="utf-8"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
    | st.sampled_from(["pH", "temperature", "hamilton-arc-ph", "mt-sics-balance", "line", "modbus-tcp", "kg"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["point", "profile", "without", "unit", "tag", "kind", "bus", "id"]), inner),
    max_leaves=6,
)  # fmt: skip


def _paths(value, path=()):
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _paths(inner, (*path, key))


PATHS = list(_paths(GOOD))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(PATHS), VALUES | st.just(KeyError)), min_size=1, max_size=3))
def test_wrong_document_is_told(changes):
    document = deepcopy(GOOD)
    for path, value in changes:
        here = document
        try:
            for step in path[:-1]:
                here = here[step]
            if value is KeyError:
                del here[path[-1]]
            else:
                here[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took it away
    expansion = expand(document, Path("/nowhere"))
    findings = list(contradictions(expansion.document))
    try:
        AgentSettings.model_validate(expansion.document, context={"base": Path("/nowhere")})
    except ValidationError as error:
        findings += explain(error, expansion.document, AgentSettings)
    for finding in findings:
        assert written_path(finding.path, expansion.document)
        assert expansion.written(finding.path)[:1] == finding.path[:1]
    for finding in expansion.findings:
        assert written_path(finding.path, document)
