"""Throughput and latency under closed-loop load: ours beside the peers, in interleaved rounds."""
