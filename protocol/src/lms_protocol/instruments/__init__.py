"""Instrument profiles: what has to be known of a model to read it, set it, recognise it and calibrate it.

    registers.py     where a value lies in a Modbus instrument, and what its status and unit registers say
    layout.py        what in an instrument's registers cannot all be true
    calibration.py   how a point is calibrated
    facts.py         sources of facts, links, checks of identity
    names.py         names of profiles, sources, points
    wording.py       what is said to instruments that talk in lines, and what they must answer
    points.py        the points of a profile, for each dialect
    base.py, registers_profile.py, lines_profile.py, model.py    the profile
    catalogue.py     the packaged profiles (`profiles/*.toml`) and own ones from a folder
    describing.py    a profile as a page for people

The agent's configuration names a profile (`lms_agent.settings.expanding` puts its points in), `lms-agent scan` looks
for instruments by it, and `lms-agent calibrate` follows its procedure. A profile is data: whoever has an instrument
that is not here writes one file.
"""
