"""LitServe with batching: the rows of concurrent requests in one call, two workers.

Annotations are not postponed here: LitServe reads them for the type of a request.
"""

from typing import Any

import litserve

from loadtests.bench.servers.model import load, port


class Model(litserve.LitAPI):  # type: ignore[misc,unused-ignore]
    """Requests are lists of rows; a batch is a list of those."""

    def setup(self, device: str) -> None:  # noqa: ARG002  LitServe's signature
        self._convert, self._predict = load()

    def decode_request(self, request: dict[str, Any]) -> list[Any]:
        return list(request["instances"])

    def batch(self, inputs: list[list[Any]]) -> list[list[Any]]:
        return inputs

    def predict(self, x: list[list[Any]]) -> list[list[Any]]:
        found = self._predict(self._convert([row for rows in x for row in rows])).tolist()
        answers, start = [], 0
        for rows in x:
            answers.append(found[start : start + len(rows)])
            start += len(rows)
        return answers

    def unbatch(self, output: list[list[Any]]) -> list[list[Any]]:
        return output

    def encode_response(self, output: list[Any]) -> dict[str, Any]:
        return {"predictions": output}


if __name__ == "__main__":
    api = Model(max_batch_size=64, batch_timeout=0.001)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=2)
    server.run(host="127.0.0.1", port=port(), generate_client_file=False, log_level="warning")
