"""What the peers run: each a server as a good user of that tool would write it, one model each."""
