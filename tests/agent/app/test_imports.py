"""A running agent imports nothing more of itself: an upgrade replaces its files under it, and it goes on reading."""

import ast
from pathlib import Path

import lms_agent
import pytest

PACKAGE = Path(lms_agent.__file__).parent
AT_THE_BENCH = ("cli", "doctor")
"""Commands end soon, and may import when they are called."""


def late_imports(source: str) -> list[str]:
    """What functions of a module import of LMS evo itself."""
    found = []
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Import):
                found += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                found.append(node.module or "")
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
                found.append("lms_agent, by a name")
    return [name for name in found if name.startswith("lms_")]


def test_running_agent_imports_nothing_more_of_itself() -> None:
    late = {
        str(path.relative_to(PACKAGE)): names
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[0] not in AT_THE_BENCH
        and (names := late_imports(path.read_text(encoding="utf-8")))
    }
    assert not late


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n import lms_agent.log",
        "async def f():\n from lms_protocol import edge",
        "def f():\n importlib.import_module(n)",
    ],
)
def test_late_import_would_be_found(source: str) -> None:
    assert late_imports(source)
