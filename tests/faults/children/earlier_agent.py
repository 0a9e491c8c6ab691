"""The agent as it was before a migration of the log: it knows those up to LATEST only, and refuses a log that has more.

Usage: earlier_agent.py LATEST COMMAND…
"""

import sys

from lms_agent.cli import app
from lms_agent.log import schema
from lms_agent.log.damage import schema_checks

schema.LATEST_MIGRATION = schema_checks.LATEST_MIGRATION = sys.argv[1]
app(sys.argv[2:])
