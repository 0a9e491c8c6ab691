"""How commands look: plain text that fits 80×24, in colour only on a terminal, without a drawing library.

terminal.py   how wide the screen is, and whether it shows colours
tables.py     columns that fit the screen
prose.py      a heading beside text that is folded
"""
