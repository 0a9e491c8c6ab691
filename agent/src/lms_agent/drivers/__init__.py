"""One small file per dialect: bytes from a bus in, readings of tags out.

driver.py              what every driver gives: an `Outcome`
block_planning.py      which registers are read together
register_coding.py     registers ⇄ numbers
status_words.py        what words beside a value say of it
modbus_registers.py    any instrument with Modbus registers
mt_sics.py             Mettler Toledo balances
ezo.py                 Atlas Scientific EZO circuits
alicat.py              Alicat flow and pressure instruments; `alicat_frames.py` knows their data frames
watson_marlow.py       Watson-Marlow pumps
questions.py           several questions in one scan
choosing.py            settings + bus → driver
"""
