"""Which serial ports this computer has, by the names that stay, and which program has one open.

    present.py   the ports and what is known of their adapters
    holders.py   who has a device file open

Used by the commands that help to set up an agent: `doctor`, `scan`, `init`. The buses themselves only open what the
configuration names.
"""
