"""What a technician would look at first when an agent does not do what it should, each with its remedy.

    finding.py    what one look gives
    machine.py    clock, account, disk: what every agent needs of its computer
    ports.py      serial ports and TCP instruments
    broker.py     name, connection, certificate, account
    database.py   the log, and what the cloud has acknowledged of it
    service.py    the systemd service, and what the running agent says of itself
    examining.py  all of it, in an order in which the first bad one is likely the cause of the others

Nothing here changes anything, and nothing disturbs a running agent: what it holds open is not opened, and the broker is
asked under another client id. `lms-agent doctor` prints it.
"""
