"""A seeded simulation around the agent's and the ingest worker's real code.

    plan.py       what a seed means: agents, workers, scans and faults, as a list that can be shortened
    world.py      builds all of it, runs it in virtual time, and asks the oracle at the end
    faults.py     the kinds of fault
    loop.py       an asyncio event loop whose time is virtual, and processes that can be killed between two steps
    disk.py       a disk under the real SQLite that forgets or tears what was not synced when the power goes
    broker.py     an MQTT broker and its connections: lost, doubled, late, out of order, hanging, taken over
    database.py   what PostgreSQL does for ingest, in memory, with COMMITs whose outcome nobody learns
    leases.py     the server whose advisory locks share the groups between the workers
    machine.py    an agent's computer: real log, keeping and sender
    cloud.py      an ingest worker: the real one
    oracle.py     knows what every log committed, and says whether the promise was kept
    quick.py      the same promise around the state machines alone: many times as many seeds a second
    running.py    many seeds, over all cores
    shrinking.py  takes faults out of a failing plan for as long as it still fails
    listening.py  what the programs log becomes the trace

`python -m simulation --help` (with tests/ on PYTHONPATH) and `make simulate` run it; docs/simulation.md explains it.
"""
