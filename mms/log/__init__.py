"""One event, one line: ``sink`` is the front's log, ``plain`` that of the processes below it."""
