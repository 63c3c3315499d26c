"""mosec with dynamic batching: the rows of concurrent requests in one call."""

from __future__ import annotations

from typing import Any

from mosec import Server, Worker

from loadtests.bench.servers.model import load


class Model(Worker):  # type: ignore[misc,unused-ignore]
    """Own JSON in and out is mosec's default codec."""

    def __init__(self) -> None:
        super().__init__()
        self._convert, self._predict = load()

    def forward(self, data: list[Any]) -> list[Any]:
        rows = [row for one in data for row in one["instances"]]
        found = self._predict(self._convert(rows)).tolist()
        answers, start = [], 0
        for one in data:
            end = start + len(one["instances"])
            answers.append({"predictions": found[start:end]})
            start = end
        return answers


if __name__ == "__main__":
    server = Server()
    server.append_worker(Model, num=2, max_batch_size=64, max_wait_time=1)
    server.run()
