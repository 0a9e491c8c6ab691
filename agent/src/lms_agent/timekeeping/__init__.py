"""Timekeeping: the agent's own time, which never steps back, and how far it is known to be right.

source.py       what the computer says: time since boot, system clock, boot id, whether it is synchronised
kernel.py       asks the kernel whether its clock is synchronised
discipline.py   the rules, without I/O: from what the computer says to the agent's time
placing.py      where readings go whose time nobody will ever know
timekeeper.py   looks at the source once a second, and has the log write down what changes

agent's time = CLOCK_BOOTTIME + offset          the offset changes only by the rules of `discipline.py`
"""
