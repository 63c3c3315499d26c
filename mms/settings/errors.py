"""The one line that says which setting can't be used, and how its value is shown."""

from __future__ import annotations

from mms.redaction import is_secret_name, redact


class SettingError(Exception):
    """A setting that can't be used: its name as given, its value, and what would do."""

    def __init__(self, name: str, value: str | None, allowed: str) -> None:
        self.name, self.value, self.allowed = name, value, allowed
        given = name if value is None else f"{name}={shown_value(name, value)}"
        super().__init__(f"{given}: {allowed}")


def shown_value(name: str, value: str) -> str:
    """A value as a short printable word for an error line, without secrets."""
    value = "[redacted]" if is_secret_name(name) else redact(value)
    value = value if value.isprintable() else ascii(value)
    return value if len(value) <= 80 else value[:77] + "..."
