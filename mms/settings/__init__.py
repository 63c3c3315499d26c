"""The one reader of the environment: texts in, a frozen :class:`Settings` of ready values out.

Nothing else in the server looks at a variable or parses one. A flag wins over its variable. An
empty variable counts as unset. Whatever is wrong stops the start with one line that names the
setting, its value and what is allowed. ``python -m mms.settings`` prints the README's table.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mms.settings import script
from mms.settings.errors import SettingError, shown_value
from mms.settings.host import Host
from mms.settings.kinds import FOLDER, MEDIA, Kind, count
from mms.settings.quantity import Share, parse_count
from mms.settings.table import PREFIX, SETTINGS, Setting, settings_table

__all__ = [
    "SETTINGS",
    "SettingError",
    "Settings",
    "StartError",
    "disk_budget_bytes",
    "load_settings",
    "settings_table",
]

Mode = Literal["self", "multi", "single"]


class StartError(Exception):
    """The server can't start and would fail the same way again: what, why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Ready values: bytes, seconds, paths. ``mode`` is the way to run that they amount to."""

    mode: Mode
    models: str | None
    s3_endpoint_url: str | None
    host: str
    port: int
    workers: int
    memory_budget_bytes: int
    disk_budget: Share | int  # see disk_budget_bytes
    cache_dir: Path
    max_body: int
    request_timeout_s: float
    load_wait_s: float
    load_timeout_s: float
    max_loads: int
    max_inflight: int
    max_inflight_bytes: int
    max_queue: int
    max_batch: int
    batch_delay_s: float
    drain_delay_s: float
    drain_timeout_s: float
    trust: Literal["restricted", "all"]
    allow_globals: frozenset[str]
    env_match: Literal["exact", "compatible", "warn", "off"]
    envs: Path | None
    log_format: Literal["json", "text"]
    log_level: Literal["debug", "info", "warning", "error"]
    access_log: Literal["all", "notable", "off"]
    top_models: int
    echo_attributes: bool
    default_accept: str
    model_dir: Path  # SageMaker's single-model folder
    program: str  # the script in code/
    shared_code: Path | None  # a folder with a script for every model that has none of its own


def load_settings(
    flags: Mapping[str, str], environ: Mapping[str, str], host: Host | None = None
) -> Settings:
    """Settings from flags (by :attr:`Setting.key`) and environment; raises SettingError."""
    _refuse_unknown(environ)
    host = host or Host.detect()
    given = dict(_given(flags, environ))
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        name, text, kind = given.get(setting.variable, ("", setting.default, setting.kind))
        values[setting.name] = None if text is None else _parse(name, text, kind)
    _fill(values, environ, host)
    mode, base = _mode(values, environ), _base_dir(environ)
    program = script.program(environ)
    settings = Settings(
        **values,
        mode=mode,
        default_accept=_accept(environ),
        model_dir=base / "model",
        program=program,
        shared_code=script.shared_code(environ, mode, base, program, trust=values["trust"]),
    )
    shown = {v: f"{name}={shown_value(name, text)}" for v, (name, text, _) in given.items()}
    _check(settings, shown, host)
    return settings


def disk_budget_bytes(budget: Share | int, *, free: int, held: int) -> int:
    """The disk tier's bound: a share is of what is free plus what the cache already holds."""
    return budget.of(free + held) if isinstance(budget, Share) else budget


def _given(
    flags: Mapping[str, str], environ: Mapping[str, str]
) -> Iterator[tuple[str, tuple[str, str, Kind]]]:
    """Variable -> (name as the user wrote it, text, kind), for what was set at all."""
    for setting in SETTINGS:
        for name, text, kind in _sources(setting, flags, environ):
            if text:
                yield setting.variable, (name, text, kind)
                break


def _sources(
    setting: Setting, flags: Mapping[str, str], environ: Mapping[str, str]
) -> Iterator[tuple[str, str | None, Kind]]:
    """Where a setting may come from, the winner first."""
    variable, kind = setting.variable, setting.kind
    yield setting.flag, flags.get(setting.key), kind
    if variable == "MMS_PORT":
        name = "SAGEMAKER_BIND_TO_PORT"
        yield name, environ.get(name), count(1, 65535, "a port from 1 to 65535")
    yield variable, environ.get(variable), kind
    if variable == "MMS_MAX_BODY":
        name = "SAGEMAKER_MAX_PAYLOAD_IN_MB"
        yield name, environ.get(name), _MEGABYTES


def _parse_megabytes(text: str) -> int:
    # SageMaker's own "6 MB" is 6,291,456 bytes.
    megabytes = parse_count(text)
    if not 1 <= megabytes <= 1 << 20:
        raise ValueError(text)
    return megabytes << 20


_MEGABYTES = Kind(parse=_parse_megabytes, allowed="a whole number of megabytes", metavar="N")


def _parse(name: str, text: str, kind: Kind) -> object:
    try:
        return kind.parse(text)
    except (ValueError, KeyError, RuntimeError, OSError):  # RuntimeError: "~nobody" is nowhere
        raise SettingError(name, text, f"must be {kind.allowed}") from None


def _fill(values: dict[str, Any], environ: Mapping[str, str], host: Host) -> None:
    """Defaults that depend on the machine or on another setting."""
    if values["workers"] is None:
        values["workers"] = max(2, host.cores)
    if values["max_loads"] is None:
        values["max_loads"] = max(4, 2 * values["workers"])
    if isinstance(values["memory_budget_bytes"], Share):
        values["memory_budget_bytes"] = values["memory_budget_bytes"].of(host.memory_bytes)
    if values["cache_dir"] is None:
        values["cache_dir"] = _cache_dir(environ)
    if values["log_format"] == "auto":
        values["log_format"] = "text" if host.terminal else "json"
    values["allow_globals"] = values["allow_globals"] or frozenset()


def _cache_dir(environ: Mapping[str, str]) -> Path:
    base = environ.get("XDG_CACHE_HOME", "")
    # The XDG specification says that a relative path there is to be ignored.
    if base.startswith("/"):
        folder = _parse("XDG_CACHE_HOME", base, FOLDER)
        assert isinstance(folder, Path)
        return folder / "mms"
    return Path("/tmp/mms")  # noqa: S108 - the one folder that a read-only container can write


def _base_dir(environ: Mapping[str, str]) -> Path:
    name = "SAGEMAKER_BASE_DIR"
    base = _parse(name, environ.get(name) or "/opt/ml", FOLDER)
    assert isinstance(base, Path)
    return base


def _mode(values: Mapping[str, Any], environ: Mapping[str, str]) -> Mode:
    if values["models"] is not None:
        return "self"
    multi = environ.get("SAGEMAKER_MULTI_MODEL", "").strip().lower() == "true"
    return "multi" if multi else "single"


def _accept(environ: Mapping[str, str]) -> str:
    name = "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT"
    return str(_parse(name, environ.get(name) or "application/json", MEDIA))


def _check(settings: Settings, shown: Mapping[str, str], host: Host) -> None:
    """Settings that are fine alone but not together."""
    s = settings
    for small, large, fits in (
        ("MMS_LOAD_WAIT", "MMS_REQUEST_TIMEOUT", s.load_wait_s < s.request_timeout_s),
        ("MMS_LOAD_WAIT", "MMS_LOAD_TIMEOUT", s.load_wait_s <= s.load_timeout_s),
        ("MMS_BATCH_DELAY", "MMS_REQUEST_TIMEOUT", s.batch_delay_s < s.request_timeout_s),
        ("MMS_DRAIN_DELAY", "MMS_DRAIN_TIMEOUT", s.drain_delay_s < s.drain_timeout_s),
        ("MMS_MAX_BODY", "MMS_MAX_INFLIGHT_BYTES", s.max_body <= s.max_inflight_bytes),
    ):
        if not fits:
            first, second = (shown.get(v, f"{v}={_DEFAULTS[v]} (default)") for v in (small, large))
            reason = f"too much for {second}; lower the first or raise the second"
            raise SettingError(first, None, reason)
    if s.memory_budget_bytes > host.memory_bytes:
        reason = f"only {host.memory_bytes} bytes of memory are here; use less, or a share like 70%"
        raise SettingError(shown["MMS_MEMORY_BUDGET"], None, reason)


_DEFAULTS = {s.variable: s.default_text for s in SETTINGS}


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in _DEFAULTS:
            near = difflib.get_close_matches(name, _DEFAULTS, n=1, cutoff=0.75)
            hint = f"did you mean {near[0]}?" if near else "see mms serve --help"
            raise SettingError(name, environ[name], f"no such setting; {hint}")
