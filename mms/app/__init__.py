"""Puts the parts together and runs them: the one room that knows them all."""

from mms.app.application import serve

__all__ = ["serve"]
