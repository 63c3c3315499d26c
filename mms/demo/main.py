"""``mms demo``: the order in which things happen, from an empty folder to a server to play with.

Owns the demo's folder (``.demo`` where it is started) and its exit status: 0 when every answer was
the model's own, 1 when anything was not. Everything it starts is stopped when it ends.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mms.demo import howto
from mms.demo.check import difference
from mms.demo.measure import WARM_REQUESTS, Row, measure
from mms.demo.prepare import Training, is_ready, stamp
from mms.demo.problem import DemoError
from mms.demo.sample import Sample, read_samples
from mms.demo.screen import Screen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mms.demo.s3server import S3Server
    from mms.demo.server import Server

HOME = ".demo"
FIRST = "us/ny/iris-logistic.tar.gz"  # the model of the lines to copy
INTERRUPTED = 130


def run(once: bool) -> int:
    """The whole demo; returns the exit status."""
    screen = Screen()
    # A closed terminal or a kill ends it as Ctrl-C does: children first.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        return _run(screen, Path(HOME).absolute(), once=once)
    except DemoError as error:
        screen.problem(str(error))
        return 1
    except KeyboardInterrupt:
        screen.say("Stopped before it was done.")
        return INTERRUPTED


def _run(screen: Screen, home: Path, *, once: bool) -> int:
    screen.say(f"All that the demo makes is in {HOME}/ in this folder; remove it to start afresh.")
    with ExitStack() as stack:
        stack.enter_context(_alone(home))
        s3, samples = _prepare(screen, stack, home)
        server = _serve(screen, stack, home, s3)
        rows = _measure(screen, server, home, samples)
        wrong = [f"{row.target}: {row.wrong}" for row in rows if row.wrong]
        first = next(sample for sample in samples if sample.target == FIRST)
        wrong += _by_boto3(screen, server.url, first)
        _judge(screen, rows, wrong)
        if not once:
            _show_lines(screen, server, s3, first)
            _until_interrupted(screen, server)
    return 1 if wrong else 0


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """One demo a folder: two S3 servers over the same files would spoil them."""
    try:
        home.mkdir(exist_ok=True)
        lock = (home / "lock").open("w")
    except OSError as error:
        raise DemoError(f"can't write to {home}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DemoError("another demo runs in this folder: stop it first") from None
        yield


def _prepare(screen: Screen, stack: ExitStack, home: Path) -> tuple[S3Server, list[Sample]]:
    """Train while the S3 server starts, then fill the bucket."""
    models, wanted = home / "models", stamp()
    with ExitStack() as training:
        made = None
        if not is_ready(models, wanted):
            made = training.enter_context(Training(models, wanted))
        s3 = _start_s3(screen, stack, home)
        if made is not None:
            with screen.step("Training models on the data sets of scikit-learn") as tell:
                for news in made.progress():
                    tell(news)
    samples = read_samples(models)
    _fill(screen, s3, {sample.target: models / sample.target for sample in samples})
    return s3, samples


def _start_s3(screen: Screen, stack: ExitStack, home: Path) -> S3Server:
    from mms.demo.s3server import S3Server, S3ServerError

    with screen.step(f"Starting an S3 server over {HOME}/s3"):
        try:
            return stack.enter_context(S3Server(home / "s3"))
        except S3ServerError as error:
            raise DemoError(str(error)) from error


def _fill(screen: Screen, s3: S3Server, artifacts: dict[str, Path]) -> None:
    from mms.demo.bucket import upload  # boto3 takes half a second

    with screen.step("Uploading what the bucket lacks"):
        client = s3.client()
        try:
            sent = upload(client, s3.bucket, artifacts)
        finally:
            client.close()
    screen.say(
        f"{len(artifacts)} models lie in {_uri(s3)} on {s3.endpoint_url}, {sent} of them new."
    )


def _uri(s3: S3Server) -> str:
    from mms.demo.bucket import PREFIX

    return f"s3://{s3.bucket}/{PREFIX}"


def _serve(screen: Screen, stack: ExitStack, home: Path, s3: S3Server) -> Server:
    from mms.demo.server import Server, free_port

    shutil.rmtree(home / "cache", ignore_errors=True)  # so that cold is cold
    settings = {
        **s3.environ(),
        "MMS_MODELS": _uri(s3),
        "MMS_S3_ENDPOINT_URL": s3.endpoint_url,
        "MMS_CACHE_DIR": str(home / "cache"),
        "MMS_LOG_FORMAT": "json",
        "MMS_DRAIN_DELAY": "0s",  # no load balancer to wait for
    }
    wanted = os.environ.get("MMS_PORT", "")
    port = free_port(int(wanted) if wanted.isdecimal() else 8080)
    with screen.step("Starting mms serve"):
        server = stack.enter_context(Server(settings, port=port, log=home / "server.log"))
    screen.say(f"mms serve answers on {server.url} and has loaded nothing yet. Asking every model:")
    return server


def _measure(screen: Screen, server: Server, home: Path, samples: list[Sample]) -> list[Row]:
    from mms.demo.client import Client
    from mms.demo.server import HOST

    rows = []
    with Client(HOST, server.port) as client, screen.table() as add:
        for sample in samples:
            size = (home / "models" / sample.target).stat().st_size
            rows.append(measure(client, sample, size))
            add(rows[-1])
    return rows


def _by_boto3(screen: Screen, url: str, sample: Sample) -> list[str]:
    from mms.demo.client import ask_by_boto3

    body = ask_by_boto3(url, sample)
    screen.say(f'boto3.client("sagemaker-runtime"), {sample.target}: {body.decode().strip()}')
    wrong = difference(sample, body)
    return [f"boto3, {sample.target}: {wrong}"] if wrong else []


def _judge(screen: Screen, rows: list[Row], wrong: list[str]) -> None:
    for text in wrong:
        screen.problem(text)
    if not wrong:
        answers = len(rows) * (1 + WARM_REQUESTS) + 1
        screen.say(
            f"{len(rows)} models, {answers} answers, all equal to the models' own predictions. "
            "Cold: fetched from S3 and loaded, the first after the workers' start; "
            f"warm: the median of {WARM_REQUESTS} requests."
        )


def _show_lines(screen: Screen, server: Server, s3: S3Server, sample: Sample) -> None:
    place = s3.endpoint_url, s3.access_key, s3.secret_key, _uri(s3)
    screen.heading("Ask a model (in another terminal, in this folder):")
    screen.line(howto.curl_line(server.url, sample))
    screen.line(howto.python_line(server.url, sample))
    screen.heading("See the bucket, with the AWS command line or without:")
    screen.line(howto.aws_line(*place))
    screen.line(howto.list_line(*place))
    screen.heading("See what the server counts:")
    screen.line(f"curl -s {server.url}/metrics")
    screen.say(
        f"\nPut a model of your own under {_uri(s3)} and ask for it by its key: no restart. "
        f"The server's log is {HOME}/server.log; README.md has the rest."
    )


def _until_interrupted(screen: Screen, server: Server) -> None:
    screen.say("\nServing until Ctrl-C.")
    try:
        server.wait()
    except KeyboardInterrupt:
        screen.say("\nStopping the server and the bucket. The models stay for the next time.")
