"""The moment between the end of a worker's socket and the news of its death."""

from __future__ import annotations

import os
import signal

from mms.fleet.outcome import BatchLost, BatchOutcome
from tests.fleet.world import Recorder, running, until


async def test_what_is_given_to_a_dying_worker_is_lost_after_its_loss_is_known() -> None:
    """Whoever tries again at once must not be sent to the same worker."""
    recorder = Recorder()
    known_lost: list[bool] = []
    outcomes: list[BatchOutcome] = []
    async with running(1, recorder) as fleet:
        worker = fleet.workers[0]
        zygote = fleet.zygote_pid
        assert zygote is not None
        os.kill(zygote, signal.SIGSTOP)  # so that it can't tell of the death
        try:
            os.kill(worker.pid, signal.SIGKILL)
            await until(lambda: not worker.alive)
            assert not worker.gone.is_set()

            def on_done(outcome: BatchOutcome) -> None:
                outcomes.append(outcome)
                known_lost.append(worker.id in recorder.lost)

            worker.submit(1, [(b"", b"")], hang_limit_s=10, on_done=on_done)
            await until(lambda: outcomes)
        finally:
            os.kill(zygote, signal.SIGCONT)
    assert isinstance(outcomes[0], BatchLost)
    assert not outcomes[0].started
    assert known_lost == [True]
