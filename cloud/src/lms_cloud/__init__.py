"""The LMS evo cloud: takes readings from the broker into PostgreSQL and shows them, live and historical."""
