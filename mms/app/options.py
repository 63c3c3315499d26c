"""The settings in the words of each part: what the fleet, the engine, the API and the server take.

Pure; no part knows the settings, so this is where each learns of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mms import __version__
from mms.api.build import ApiOptions
from mms.api.server import ServerOptions
from mms.engine.engine import EngineLimits
from mms.engine.flight import FlightLimits
from mms.engine.lane import LaneLimits
from mms.fleet.interpreters import Interpreter
from mms.fleet.outcome import FleetOptions
from mms.settings import Settings
from mms.settings.loads import load_options

_TRANSIENT_BYTES: Final = 512 << 20
"""What a worker may take above the whole memory budget while a model is loaded or asked."""


def fleet_options(settings: Settings, environ: Mapping[str, str]) -> FleetOptions:
    return FleetOptions(
        environ=environ,
        threads=min(4, max(2, settings.workers)),
        memory_bytes=settings.memory_budget_bytes + _TRANSIENT_BYTES,
        log_format=settings.log_format,
        log_level=settings.log_level,
    )


def engine_limits(settings: Settings, interpreters: Mapping[str, Interpreter]) -> EngineLimits:
    return EngineLimits(
        load_wait_s=settings.load_wait_s,
        lane=LaneLimits(
            max_queue=settings.max_queue,
            max_batch=settings.max_batch,
            batch_delay_s=settings.batch_delay_s,
            request_timeout_s=settings.request_timeout_s,
        ),
        flight=FlightLimits(
            load_timeout_s=settings.load_timeout_s,
            options=load_options(settings, {i.name: i.versions for i in interpreters.values()}),
        ),
        max_inflight=settings.max_inflight,
        max_inflight_bytes=settings.max_inflight_bytes,
    )


def api_options(settings: Settings) -> ApiOptions:
    return ApiOptions(
        version=__version__,
        max_body=settings.max_body,
        request_timeout_s=settings.request_timeout_s,
        default_accept=settings.default_accept,
        echo_attributes=settings.echo_attributes,
        max_concurrent_transforms=settings.workers,
    )


def server_options(settings: Settings) -> ServerOptions:
    return ServerOptions(
        drain_delay_s=settings.drain_delay_s, drain_timeout_s=settings.drain_timeout_s
    )
