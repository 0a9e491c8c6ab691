"""A bioreactor's truth and the instruments that look at it: pure, seeded, without a clock or a socket of its own.

strains, vessels   the parameters, with their sources
growth, gas, acidity, heat   one part of the physics each, one step each
pid, controller    the loops that act on set points
state              everything that changes, as plain numbers
model              one step of the whole
instruments        lag, drift, noise and resolution on top of the truth
bioreactor         runs in calendar time: which step of which run is now
"""
