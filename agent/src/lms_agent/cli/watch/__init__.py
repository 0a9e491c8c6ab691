"""`lms-agent watch`: the live screen at the bench.

command.py   its options, and which screen it is
keys.py      the screen with keys; needs Textual (`lms-agent[screen]`)
table.py     the screen without keys
lines.py     the words and colours of both
"""
