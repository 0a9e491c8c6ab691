"""TOML files that people write by hand, checked whole: every problem with line, key, what was found, what is allowed.

    problems.py     what is wrong, as people are told, and the error that holds it
    findings.py     what models and checks find wrong, at which key
    locating.py     which line of the file holds which key
    shapes.py       which model a table of the file is checked against
    explaining.py   pydantic's errors → findings
    reading.py      file → document, or one `UnusableFile` with every problem

Used for the agent's configuration (`lms_agent.settings`) and for instrument profiles (`lms_protocol.instruments`).
"""
