"""Whether all that agents logged is committed, what is missing, and why."""
