"""However wrong the text of a profile is, it is told as problems; nothing else is ever raised."""

import tomllib

from hypothesis import HealthCheck, given, settings
from lms_protocol.checked_toml.explaining import explain, written_path
from lms_protocol.instruments.catalogue import PACKAGED
from lms_protocol.instruments.describing import page
from lms_protocol.instruments.model import ProfileFile
from pydantic import ValidationError
from support.spoiling import changed, changes

GOOD = {path.stem: tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(PACKAGED.glob("*.toml"))}
WORDS = ["pH", "manual", "measurement", "modbus", "serial", "{unit}", "{value:.2f}", "(", "reference"]
KEYS = ["name", "address", "unit", "code", "source", "step", "kind", "write"]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(changes(GOOD, words=WORDS, keys=KEYS))
def test_wrong_profile_is_told(drawn):
    document = {"profile": changed(GOOD, drawn)}
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
