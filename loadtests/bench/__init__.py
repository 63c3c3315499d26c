"""The benchmark: this server beside what users would write, in one run, answers checked first."""
