"""Simulated bioreactors and instruments on real wires, and the stand that runs the whole system on one machine."""
