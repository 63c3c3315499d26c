"""What every load is told: of the settings, those that decide how a worker treats an artifact."""

from __future__ import annotations

from collections.abc import Mapping

from mms.settings import Settings


def load_options(
    settings: Settings, environments: Mapping[str, Mapping[str, str]]
) -> dict[str, object]:
    """As JSON has it. ``environments``: the versions by distribution of each one by name."""
    return {
        "trusted": settings.trust == "all",
        "program": settings.program,
        "shared_code": str(settings.shared_code or ""),
        "allow_globals": sorted(settings.allow_globals),
        "env_match": settings.env_match,
        "environments": {name: dict(versions) for name, versions in environments.items()},
    }
