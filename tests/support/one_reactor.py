"""The settings of an agent with one bioreactor, R1, to which a test adds what it is about."""

from pathlib import Path

from lms_agent.settings import AgentSettings, load_settings

HEAD = """\
[agent]
id = "a"
group = "g"
log = "log.sqlite3"
[broker]
url = "mqtt://127.0.0.1:1883"
account = "a"
password_file = "secret"
[[bioreactor]]
id = "R1"
"""


def settings_of(folder: Path, text: str) -> AgentSettings:
    """Settings, written to `folder` and loaded from there; `text`: lines, instruments and derived tags."""
    (folder / "secret").touch(0o600)
    (folder / "secret").write_text("correct horse")
    path = folder / "agent.toml"
    path.write_text(HEAD + text, encoding="utf-8")
    return load_settings(path)
