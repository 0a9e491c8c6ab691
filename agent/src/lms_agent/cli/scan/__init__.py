"""`lms-agent scan`: what hangs on a line that nobody has described.

command.py    its options, and the scan of all lines
unit.py       `--unit`: what one unit holds, and how a value that is known is stored
plan.py       what is asked on each line
progress.py   how far a scan is, in one line that goes away; `lms-agent init` shows it, too
telling.py    what a scan came to, in words and as JSON
"""
