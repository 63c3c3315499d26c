"""Load tests: Locust users and the tools that tune autoscaling. Not in the wheel."""
