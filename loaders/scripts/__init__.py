"""Models answered by their own scripts: SageMaker's ``code/inference.py``."""
