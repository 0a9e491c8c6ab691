"""Messages that could not be stored: kept with their bytes, shown, and read again when somebody asks."""
