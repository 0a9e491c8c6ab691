"""However wrong a configuration is, it is told as problems, with a place; nothing else is ever raised."""

import tomllib
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from lms_agent.settings.consistency import contradictions
from lms_agent.settings.expanding import expand
from lms_agent.settings.model import AgentSettings
from lms_protocol.checked_toml.explaining import explain, written_path
from pydantic import ValidationError
from support.spoiling import changed, changes

CASES = sorted(path for path in (Path(__file__).parent / "cases").glob("good*/agent.toml"))
GOOD = {path.parent.name: tomllib.loads(path.read_text(encoding="utf-8")) for path in CASES}
WORDS = ["pH", "temperature", "hamilton-arc-ph", "mt-sics-balance", "line", "modbus-tcp", "~nobody/x"]
KEYS = ["point", "profile", "without", "unit", "tag", "kind", "bus", "id"]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(changes(GOOD, words=WORDS, keys=KEYS))
def test_wrong_document_is_told(drawn):
    document = changed(GOOD, drawn)
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
