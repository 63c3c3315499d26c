"""``python -m mms`` is ``mms``."""

from mms.cli import main

main()
