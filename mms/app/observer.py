"""Tells the metrics and the access log of every request that was answered."""

from __future__ import annotations

from typing import Final

from mms.api.ports import RequestRecord
from mms.errors import ServiceUnavailable
from mms.log.access import AccessLog
from mms.metrics import Metrics

CLIENT_GONE: Final = 499


class RequestObserver:
    """Called once a request, after its answer was written."""

    def __init__(self, metrics: Metrics, access: AccessLog) -> None:
        self._metrics = metrics
        self._access = access

    def request(self, record: RequestRecord) -> None:
        metrics, error, answer = self._metrics, record.error, record.answer
        metrics.http(record.route, record.status, record.seconds)
        if answer is not None:
            metrics.invocation(record.model, "ok", answer.tier, record.seconds)
            metrics.queued(answer.queue_s)
        elif error is not None:
            if isinstance(error, ServiceUnavailable):
                metrics.rejected(error.reason)
            if record.model:
                metrics.invocation(record.model, error.code, "", record.seconds)
        elif record.status == CLIENT_GONE and record.model:
            metrics.invocation(record.model, "cancelled", "", record.seconds)
        self._log(record)

    def _log(self, record: RequestRecord) -> None:
        answer = record.answer
        self._access.record(
            request_id=record.request_id,
            method=record.method,
            route=record.route,
            status=record.status,
            total_s=record.seconds,
            target=record.model,
            version=answer.version if answer else "",
            tier=answer.tier if answer else "",
            code=record.error.code if record.error else "",
            client_id=record.caller_id,
            bytes_in=record.bytes_in,
            bytes_out=record.bytes_out,
            queue_s=answer.queue_s if answer else None,
            fetch_s=answer.fetch_s if answer else None,
            load_s=answer.load_s if answer else None,
            predict_s=answer.predict_s if answer else None,
        )
