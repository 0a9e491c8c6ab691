"""Simulated instruments: what they measure, what they remember, and the dialect that they speak.

immersion            where a probe is: in the vessel, in a buffer, in air; and how its signal follows
ph_electrode         a glass electrode, new or worn, and the calibration that its transmitter keeps
oxygen_optode        an oxygen probe, and the calibration that its transmitter keeps
wear                 a probe's age, changed while it is served
flow_controller      a mass-flow controller, whatever dialect it speaks
ezo, ezo_ph, ezo_do  Atlas Scientific EZO circuits on a serial line
hamilton_blocks, hamilton, hamilton_ph, hamilton_do
                     Hamilton Arc sensors on Modbus
alicat_ascii, alicat_modbus, watson_marlow, mettler_m80

Written from the makers' manuals; nothing here is shared with, or taken from, the agent's drivers, so that a mistake on
one side cannot hide itself on the other. Neighbours: `wires` carries what they say, `simulated` binds them to a
bioreactor, `control` moves them while they are served.
"""
