"""Damage: how it is noticed, what it leaves readable, and the second copies of what nothing can be sent without."""
