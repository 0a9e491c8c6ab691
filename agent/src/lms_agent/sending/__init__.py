"""Sending: log → broker, acknowledgements back. Never in the way of sampling, and nothing here is kept but in the log.

    sender.py       the life of the agent on the broker: connect, births, data, deaths, again
    conversation.py one connection: what to publish next, what the broker delivers
    supply.py       batches from the log, read ahead
    packer.py       the backlog as packs of batches, for a host that reads them
    connection.py   how to connect, and what a refusal means
    errors.py       what can go wrong

`lms_protocol.edge` and `lms_protocol.delivery` decide what is sent when; this package moves their bytes.
"""
