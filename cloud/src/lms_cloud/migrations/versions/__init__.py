"""One file per migration, numbered in their order."""
