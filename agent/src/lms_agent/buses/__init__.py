"""The lines that instruments hang on: one owner per port, one transaction at a time."""
