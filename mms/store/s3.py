"""S3 as a store: one GET an artifact, and for big ones an ordered window of ranges.

Retries are not made here but in :mod:`mms.store.fetch`, which can start an artifact over. The
client (:mod:`mms.store.s3_client`) is made on first use, objects are asked for by
:mod:`mms.store.s3_gets`; what they raise becomes an error of ours.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from mms.errors import ModelNotFound, StoreUnavailable, ValidationError
from mms.store.base import Denied, Listed, NotModified, StoreRefused, StoreStats
from mms.store.members import read_ahead
from mms.store.ranges import Checksum, Plan, S3Stream, windowed
from mms.store.s3_answers import WholeAnswers
from mms.store.s3_client import make_client
from mms.store.s3_problems import CHANGED, client_problem, problem

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ListObjectsV2OutputTypeDef

    from mms.store.ranges import Blocks
    from mms.store.s3_gets import Got, ObjectGets
    from mms.types import TargetModel

log = logging.getLogger("mms.store")

PART_BYTES = 8 << 20
WINDOW = 4
PAGE_KEYS = 1000  # as many as S3 gives
_READ = 256 << 10


class S3Store:
    """The artifacts below ``prefix`` (empty, or ending in a slash) of ``bucket``.

    ``connections`` is how many fetches run side by side; a big one takes up to ``window``
    connections. An attempt may outlive its deadline by the timeouts, never by more.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str,
        *,
        endpoint_url: str | None = None,
        connections: int = 8,
        connect_timeout_s: float = 3.0,
        read_timeout_s: float = 5.0,
        part_bytes: int = PART_BYTES,
        window: int = WINDOW,
        page_keys: int = PAGE_KEYS,
    ) -> None:
        self.id = f"s3://{bucket}/{prefix}"
        self._bucket = bucket
        self._prefix = prefix
        self._endpoint_url = endpoint_url
        self._connections = connections * window
        self._timeouts = (connect_timeout_s, read_timeout_s)
        self._part_bytes = part_bytes
        self._window = window
        self._page_keys = page_keys
        self._threads = ThreadPoolExecutor(connections * (window - 1), "mms-ranges")
        self._is_closed = False
        self._whole_answers = WholeAnswers(lambda: self._is_closed)
        self._client_lock = threading.Lock()
        self._made: tuple[S3Client, ObjectGets] | None = None
        self._stats_lock = threading.Lock()
        self._requests: Counter[tuple[str, str]] = Counter()
        self._bytes = 0

    def open(self, target: TargetModel, *, known_etag: str | None, deadline: float) -> S3Stream:
        """Exactly one GetObject; a big object's further ranges are asked for as it is read."""
        return self._open(
            target, {} if known_etag is None else {"IfNoneMatch": known_etag}, deadline
        )

    def list(self, prefix: str = "", *, after: str = "", deadline: float) -> Iterator[Listed]:
        """One ListObjectsV2 a page."""
        more = {"StartAfter": self._prefix + after} if after else {}
        while True:
            page = self._page(prefix, more, deadline)
            for found in page.get("Contents", ()):
                yield Listed(
                    key=found["Key"].removeprefix(self._prefix),
                    etag=found.get("ETag", ""),
                    size=found["Size"],
                    modified=found["LastModified"],
                )
            if not page.get("IsTruncated"):
                return
            if "NextContinuationToken" not in page:
                raise StoreUnavailable("the model store cut a listing short")
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def read_all(
        self, listed: Sequence[Listed], *, deadline: float
    ) -> Generator[tuple[Listed, Iterator[bytes]], None, None]:
        """One GET an object; those over a part size come last, one by one in their ranges."""
        small = [one for one in listed if one.size <= self._part_bytes]
        ahead = self._window - 1
        with closing(read_ahead(self._whole, small, ahead, deadline, self._threads)) as whole:
            yield from whole
        for one in listed:
            if one.size > self._part_bytes:
                with closing(self._open_listed(one, deadline)) as stream:
                    yield one, iter(partial(stream.read, _READ), b"")

    def _open_listed(self, one: Listed, deadline: float) -> S3Stream:
        try:
            stream = self._open(one.key, {"IfMatch": one.etag}, deadline)
        except Denied:
            raise
        except ModelNotFound as exc:
            raise StoreUnavailable(CHANGED) from exc
        if stream.size != one.size:
            stream.close()
            raise StoreUnavailable(CHANGED)
        return stream

    def _whole(self, one: Listed, deadline: float, stop: threading.Event) -> Blocks:
        """An object in the version that was listed; given up when ``stop`` is set."""
        with closing(self._open_listed(one, deadline)) as stream:
            blocks = iter(partial(stream.read, _READ), b"")
            return list(takewhile(lambda _: not stop.is_set(), blocks))

    def _open(self, target: str, more: dict[str, str], deadline: float) -> S3Stream:
        got = self._get("get", target, more, deadline)
        try:
            size, etag = int(got.headers["content-length"]), got.headers["etag"]
        except (KeyError, ValueError):
            got.body.close()
            raise StoreUnavailable("the model store announced no length or no ETag") from None
        plan = Plan(
            target=target,
            etag=etag,
            size=size,
            part_bytes=self._part_bytes,
            window=self._window,
            deadline=deadline,
        )
        head = self._blocks(got.body, target, min(size, self._part_bytes), deadline)
        blocks = windowed(head, self._part, plan, self._threads)
        checksum = Checksum.of(got.headers)
        return S3Stream(blocks, etag=etag, size=size, checksum=checksum, release=got.body.close)

    def check(self) -> None:
        """Ask for a key that isn't there: wrong settings show, whatever the role may do."""
        try:
            more = {"Range": "bytes=0-0"}
            self._get("check", ".mms-check", more, time.monotonic() + 60).body.close()
        except StoreRefused as exc:
            raise ValidationError(f"{self.id}: {exc.message}") from exc
        except Denied:  # a role without s3:ListBucket can't tell more
            log.info("store can't tell a missing model from a denied one", extra={"store": self.id})
        except ModelNotFound:
            pass

    def stats(self) -> StoreStats:
        with self._stats_lock:
            return StoreStats(requests=dict(self._requests), bytes=self._bytes)

    def close(self) -> None:
        """What is being read ends with an error, so that no thread holds up the process's end."""
        self._is_closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._client_lock:
            if self._made is not None:
                self._made[0].close()

    def _get(self, op: str, target: str, more: dict[str, str], deadline: float) -> Got:
        if time.monotonic() >= deadline or self._is_closed:
            raise _too_slow()
        gets = self._gets()
        with self._answers(op, target), self._whole_answers.within(deadline):
            got = gets.get(self._prefix + target, more)
        self._note(op, "ok")
        return got

    def _page(
        self, prefix: str, more: dict[str, str], deadline: float
    ) -> ListObjectsV2OutputTypeDef:
        if time.monotonic() >= deadline or self._is_closed:
            raise _too_slow()
        client = self._client()
        with self._answers("list", prefix), self._whole_answers.within(deadline):
            page = client.list_objects_v2(
                Bucket=self._bucket,
                Prefix=self._prefix + prefix,
                MaxKeys=self._page_keys,
                **more,  # type: ignore[arg-type]
            )
        self._note("list", "ok")
        return page

    def _part(self, plan: Plan, start: int, stop: threading.Event) -> Blocks:
        """One range of the version that was opened; given up when ``stop`` is set."""
        end = min(start + plan.part_bytes, plan.size)
        more = {"Range": f"bytes={start}-{end - 1}", "IfMatch": plan.etag}
        try:
            got = self._get("get_range", plan.target, more, plan.deadline)
        except ModelNotFound as exc:
            raise StoreUnavailable(CHANGED) from exc
        if got.headers.get("content-range") != f"bytes {start}-{end - 1}/{plan.size}":
            got.body.close()
            raise StoreUnavailable("the model store answered another range than was asked for")
        blocks = self._blocks(got.body, plan.target, end - start, plan.deadline)
        with closing(blocks):
            return list(takewhile(lambda _: not stop.is_set(), blocks))

    def _blocks(
        self, body: StreamingBody, target: str, n: int, deadline: float
    ) -> Generator[bytes, None, None]:
        """``n`` bytes of a body as they arrive, so that a slow drip can't outlast the deadline."""
        raw: Any  # urllib3's response; its read1 returns what has arrived
        with body as raw:
            while n:
                left = deadline - time.monotonic()
                if left <= 0 or self._is_closed:
                    raise _too_slow()
                with self._answers("read", target):
                    if left < self._timeouts[1]:
                        body.set_socket_timeout(left)
                    block: bytes = raw.read1(min(n, _READ))
                if not block:
                    self._note("read", "cut")
                    raise StoreUnavailable("the model store cut an answer short")
                n -= len(block)
                with self._stats_lock:
                    self._bytes += len(block)
                yield block

    @contextmanager
    def _answers(self, op: str, target: str) -> Iterator[None]:
        """Turns every failure of the client library into one of ours, and counts it."""
        from botocore.exceptions import BotoCoreError, ClientError
        from urllib3.exceptions import HTTPError

        try:
            yield
        except ClientError as exc:
            status = exc.response["ResponseMetadata"]["HTTPStatusCode"]
            if status == 304:
                self._note(op, "not_modified")
                raise NotModified from exc
            error, outcome = problem(status, exc.response["Error"]["Code"], target, op=op)
            self._note(op, outcome)
            raise error from exc
        except (BotoCoreError, HTTPError, OSError) as exc:
            error, outcome = client_problem(type(exc).__name__)
            self._note(op, outcome)
            raise error from exc

    def _note(self, op: str, outcome: str) -> None:
        with self._stats_lock:
            self._requests[op, outcome] += 1

    def _client(self) -> S3Client:
        return self._ready()[0]

    def _gets(self) -> ObjectGets:
        return self._ready()[1]

    def _ready(self) -> tuple[S3Client, ObjectGets]:
        from mms.store.s3_gets import ObjectGets  # and botocore, on first use

        with self._client_lock:
            if self._made is None:
                client, credentials = make_client(
                    self._endpoint_url, *self._timeouts, connections=self._connections
                )
                send = self._whole_answers.attach(client)
                self._made = client, ObjectGets(client, self._bucket, credentials, send)
            return self._made


def _too_slow() -> StoreUnavailable:
    return StoreUnavailable("the model store is too slow: the time for this load is over")
