"""However wrong a configuration is, it is told as problems, with a place; nothing else is ever raised."""

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

CASES = sorted(path for path in (Path(__file__).parent / "cases").glob("good*/agent.toml"))
GOOD = {path.parent.name: tomllib.loads(path.read_text(encoding="utf-8")) for path in CASES}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
    | st.sampled_from(["pH", "temperature", "hamilton-arc-ph", "mt-sics-balance", "line", "modbus-tcp", "~nobody/x"]),
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


CHANGES = st.sampled_from(sorted(GOOD)).flatmap(
    lambda name: st.tuples(
        st.just(name),
        st.lists(
            st.tuples(st.sampled_from(list(_paths(GOOD[name]))), VALUES | st.just(KeyError)), min_size=1, max_size=3
        ),
    )
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CHANGES)
def test_wrong_document_is_told(drawn):
    name, changes = drawn
    document = deepcopy(GOOD[name])
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
