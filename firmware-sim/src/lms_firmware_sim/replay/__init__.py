"""A real run on simulated wires: what was recorded takes the place of what the process model says.

recording   the CSV file of a run, read and checked
replayed    a bioreactor that shows a recording
"""
