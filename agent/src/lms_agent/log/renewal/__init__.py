"""A log is set aside and a new one begins: what the new one takes over, and how what was not sent is still sent."""
