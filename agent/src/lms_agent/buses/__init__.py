"""The lines that instruments hang on: one owner per port, one transaction at a time.

    byte_stream.py     bytes out, bytes in, and when they came; `serial_line.py` and `tcp_stream.py` are the two kinds
    adapters.py        which adapter a device file belongs to, and who has it open
    present.py         the serial ports that there are, for those who set up an agent
    modbus_frames.py   what a Modbus request looks like, and what makes a reply a sound one
    wire_time.py       how long transactions take, as far as line and protocol settle it
    turns.py           whose turn it is on a line: what is urgent before polls that wait
    owed.py            what an instrument still owes: requests without an answer, whose reply may yet come
    doubt.py           which replies may still be under way, and how to find out
    modbus.py          a master: one transaction at a time, strict; `modbus_rtu.py` and `modbus_tcp.py` frame it
    text_line.py       instruments that answer lines of text with lines of text; `text_commands.py` says what makes a
                       reply a sound one, and which may still be under way
    opening.py         settings → bus
    backoff.py         how long to leave what does not answer alone

The transaction layer is our own: pymodbus (3.16) takes a reply that arrives after its timeout as the answer to the next
request, and accepts a wrong function code and a short count.
"""
