"""``python -m mms.settings``: the README's table of settings."""

import sys

from mms.settings import settings_table

sys.stdout.write(settings_table() + "\n")
