"""What every feature of the cloud stands on: settings, clock, errors, database, entities and their events."""
