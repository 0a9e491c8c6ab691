"""`python -m lms_cloud.cli`, the same as `lms-cloud`."""

from lms_cloud.cli import app

app()
