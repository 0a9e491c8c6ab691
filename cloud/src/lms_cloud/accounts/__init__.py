"""Users, passwords, sessions and access tokens: who is asking."""
