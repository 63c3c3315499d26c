"""A multi-model inference server: thousands of models behind one SageMaker-style endpoint."""

__version__ = "0.1.0"
