"""What ``/metrics`` reads when it is scraped: the state of the parts, sampled and never counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from mms.app.prefix import Prefix
from mms.engine.engine import Engine
from mms.engine.memory import MemoryKeeper
from mms.fleet.pools import Pools
from mms.log.sink import LogSink
from mms.metrics import GaugeSample, Metrics

LAG_INTERVAL_S = 0.25


class Gauges:
    """Reads the parts; ``watch_loop`` measures how late the event loop is."""

    def __init__(
        self,
        *,
        engine: Engine,
        memory: MemoryKeeper,
        pools: Pools,
        prefix: Prefix | None,
        is_ready: Callable[[], bool],
        sink: LogSink,
    ) -> None:
        self._engine = engine
        self._memory = memory
        self._pools = pools
        self._prefix = prefix
        self._is_ready = is_ready
        self._sink = sink

    def sample(self) -> GaugeSample:
        registry, prefix = self._engine.registry, self._prefix
        cache = prefix.cache if prefix is not None else None
        stats = prefix.store.stats() if prefix is not None else None
        return GaugeSample(
            resident_models=len(registry.ready()),
            resident_bytes=registry.resident_bytes,
            memory_budget_bytes=self._memory.budget,
            process_memory_bytes=self._process_bytes(),
            disk_cache_bytes=cache.bytes if cache is not None else 0,
            disk_budget_bytes=cache.budget_bytes if cache is not None else 0,
            loads_in_progress=self._engine.flights.under_way,
            inflight_requests=self._engine.admission.requests,
            inflight_bytes=self._engine.admission.bytes,
            max_inflight_requests=self._engine.admission.max_requests,
            queue_depth=self._engine.queue_depth,
            workers=len(self._pools.workers),
            ready=self._is_ready(),
            log_lines_dropped=self._sink.dropped,
            store_requests=dict(stats.requests) if stats is not None else {},
            store_bytes=stats.bytes if stats is not None else 0,
        )

    def _process_bytes(self) -> dict[str, int]:
        """PSS as last read; the workers together, and the zygotes."""
        found, zygotes = {"zygote": 0, "workers": 0}, self._pools.zygote_pids
        for pid, pss in self._memory.process_bytes.items():
            found["zygote" if pid in zygotes else "workers"] += pss
        return found

    async def watch_loop(self, metrics: Metrics) -> None:
        """For ever; cancel it to stop."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(LAG_INTERVAL_S)
            metrics.loop_lag(max(0.0, time.monotonic() - before - LAG_INTERVAL_S))
