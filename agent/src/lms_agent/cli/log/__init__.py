"""`lms-agent log`: what the log holds, and its upkeep.

app.py        the command; `status`, `show`, `clock` and `import`
commands.py   `commands`: who set what and why, and what became of it
upkeep.py     `stats`, `verify`, `export` and `compact`
contents.py   what a log holds, as rows of text and as JSON
"""
