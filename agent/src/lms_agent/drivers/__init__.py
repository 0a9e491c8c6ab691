"""One small file per dialect: bytes from a bus in, values of tags out."""
