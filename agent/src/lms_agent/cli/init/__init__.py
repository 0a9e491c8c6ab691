"""`lms-agent init`: the first configuration.

command.py       its options, and what becomes of the answers
answers.py       the answers it needs, from the options or from whoever sits there
instruments.py   instruments, from an option or asked for one by one
questions.py     questions on a terminal
"""
