"""Alembic's migrations, packaged with the cloud; `lms-cloud migrate` runs them (kernel/migrating.py)."""
