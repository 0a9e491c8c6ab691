"""However wrong the text of a profile is, it is told as problems; nothing else is ever raised."""

import tomllib
from copy import deepcopy

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lms_protocol.checked_toml.explaining import explain, written_path
from lms_protocol.instruments.catalogue import PACKAGED
from lms_protocol.instruments.describing import page
from lms_protocol.instruments.model import ProfileFile
from pydantic import ValidationError

GOOD = {path.stem: tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(PACKAGED.glob("*.toml"))}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
    | st.sampled_from(["pH", "manual", "measurement", "modbus", "serial", "{unit}", "{value:.2f}", "(", "reference"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["name", "address", "unit", "code", "source", "step", "kind", "write"]), inner),
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
def test_wrong_profile_is_told(drawn):
    name, changes = drawn
    document = {"profile": deepcopy(GOOD[name])}
    for path, value in changes:
        here = document["profile"]
        try:
            for step in path[:-1]:
                here = here[step]
            if value is KeyError:
                del here[path[-1]]
            else:
                here[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took it away
    try:
        profile = ProfileFile.model_validate(document).profile
    except ValidationError as error:
        findings = explain(error, document, ProfileFile)
        assert findings
        for finding in findings:
            assert finding.path[0] == "profile"
            assert written_path(finding.path, document)
            assert finding.found
            assert finding.allowed
    else:
        assert page(profile)
