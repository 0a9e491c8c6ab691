"""Operations: what those who run the cloud ask it."""
