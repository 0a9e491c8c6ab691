"""Find out what hangs on a line that nobody has described.

    settings_order.py   which baud rates and parities are tried, the likeliest first
    places.py           the ports and addresses to look at, and which of them must be left alone
    units.py            which Modbus units answer
    models.py           which model a unit is, by its profile
    text_questions.py   which instruments answer in lines of text, and what they are
    scanning.py         all of this, for one place
    reach.py            which registers of a unit can be read
    interpreting.py     what words can mean: kinds, word and byte orders, scales
    seeking.py          where a value that is known from a display lies
    surveying.py        what a whole map of registers looks like

Only reads are sent. `lms-agent scan` prints it.
"""
