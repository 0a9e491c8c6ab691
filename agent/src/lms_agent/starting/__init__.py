"""The first configuration of an agent: a few answers become a file that is checked before it counts.

    answers.py    what has to be known
    naming.py     ids and tags that are still free
    writing.py    answers → TOML with comments
    storing.py    the file and the password beside it: written, checked as the agent will, and only then there

`lms-agent init` asks, or takes the answers from its options.
"""
