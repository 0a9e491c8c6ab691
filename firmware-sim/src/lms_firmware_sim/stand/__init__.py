"""The stand: runs the whole system on one machine, for the demo and for the tests.

It starts what LMS evo stands on (a PostgreSQL server, an MQTT broker) and LMS evo itself (simulator, agents, ingest,
web), each as a process of its own, and sees to it that none of them outlives it. It knows the others only by their
command lines, as an installation would.
"""
