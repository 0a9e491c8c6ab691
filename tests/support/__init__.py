"""What the tests of several folders share; on the path through `pythonpath` in pyproject.toml."""
