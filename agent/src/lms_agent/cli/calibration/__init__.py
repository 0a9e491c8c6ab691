"""`lms-agent calibrate` and `calibrations`: hold an instrument against known values, and see what is due.

calibrate.py      the options of `calibrate`
guide.py          the talk with the technician meanwhile
calibrations.py   `calibrations`: what is calibrated, and what is due
"""
