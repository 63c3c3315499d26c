"""A server on a prefix of its own, behind a proxy that breaks the store and counts what is asked.

Whatever a test does with it, no answer may hold a path of the server's, a traceback or a secret,
and neither may the log, which is looked through at the end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from mms.demo.s3server import S3Server
from tests.support.faults import FaultProxy, Seen
from tests.support.s3 import Bucket
from tests.support.server import Response, Server

LEAKS = re.compile(
    r"Traceback|\bFile \"|site-packages|X-Amz-Signature|AWS4-HMAC|" + S3Server.secret_key
)


class World:
    """Made by :func:`world`."""

    def __init__(self, server: Server, proxy: FaultProxy, bucket: Bucket, prefix: str) -> None:
        self.server = server
        self.proxy = proxy
        self.bucket = bucket
        self.prefix = prefix
        self._pool = ThreadPoolExecutor(32, "client")

    def put(self, target: str, body: bytes) -> None:
        self.bucket.put(self.prefix + target, body)

    def ask(self, target: str, rows: object) -> Response:
        """Invoke; an answer that says no is looked through for what it may not hold."""
        answer = self.server.invoke(target, rows)
        if answer.status != 200:
            text = answer.body.decode() + repr(answer.headers)
            assert not LEAKS.search(text), text
            assert str(self.server.folder) not in text
            assert "\n" not in answer.message
        return answer

    def asking(self, target: str, rows: object) -> Future[Response]:
        """The same in a thread."""
        return self._pool.submit(self.ask, target, rows)

    def unload(self, target: str) -> None:
        """Out of memory; it stays on the disk."""
        assert self.server.request("DELETE", f"/models/{quote(target, safe='')}").status == 200

    def gets(self, target: str) -> list[Seen]:
        """The GETs for this artifact that arrived at the store."""
        path = quote(self.prefix + target)
        seen = self.proxy.seen
        return [s for s in seen if s.method == "GET" and s.path.partition("?")[0].endswith(path)]

    def on_disk(self) -> set[str]:
        """The targets that the disk tier has whole, and "" for what is in the making."""
        root = self.server.folder / "cache" / "v1"
        metas = [json.loads(path.read_text()) for path in root.glob("models/*/meta.json")]
        assert len(metas) == len(list((root / "models").iterdir()))
        return {meta["target"] for meta in metas} | {"" for _ in (root / "tmp").iterdir()}

    def losses(self) -> list[str]:
        """Why workers ended, in order. From the log, since /metrics is rendered once a second."""
        return [event["reason"] for event in self.server.events("worker ended")]

    def all_live(self) -> bool:
        """Whether both workers are ready, and all that became of earlier ones is logged."""
        return len(self.server.events("worker ready")) - len(self.losses()) == 2

    def close(self) -> None:
        self._pool.shutdown()


@contextmanager
def world(s3: S3Server, bucket: Bucket, folder: Path, **settings: str) -> Iterator[World]:
    """A ready server with ``settings``; its prefix is named after ``folder``."""
    prefix = f"{folder.name}/models/"
    with FaultProxy(s3.endpoint_url) as proxy:
        own = {
            **s3.environ(),
            "MMS_MODELS": f"s3://{s3.bucket}/{prefix}",
            "MMS_S3_ENDPOINT_URL": proxy.endpoint_url,
        }
        server = Server(folder, own | settings)
        with server:
            made = World(server, proxy, bucket, prefix)
            try:
                yield made
            finally:
                proxy.fault("")
                made.close()
        assert_log_is_clean(server)


def assert_log_is_clean(server: Server) -> None:
    """No traceback of ours, no secret, no path of the disk tier; and our lines are JSON."""
    text = "".join(log.read_text(errors="replace") for log in server.folder.glob("server*.log"))
    found = LEAKS.search(text)
    assert found is None, text[max(0, found.start() - 500) :][:2000]
    assert str(server.folder / "cache") not in text
