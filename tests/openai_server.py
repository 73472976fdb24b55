"""A small OpenAI-compatible server: a real tiny model behind `/v1/models` and `/v1/completions`; faults by request.

    with OpenAIServer(model, tokenizer) as server:
        server.faults += ["500", "429"]          the next requests fail so, each once
    python tests/openai_server.py --model FOLDER --port 8000          as vLLM's server is started

It answers as vLLM does. `knows` says which of the extras it takes: `token_ids`, `return_token_ids`, `seed`, `logprobs`;
others are refused with 400, as hosted endpoints do.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

EXTRAS = ("token_ids", "return_token_ids", "seed", "logprobs")
_AS_ASKED = {"return_token_ids": "return_token_ids", "seed": "seed", "logprobs": "logprobs"}


class OpenAIServer:
    """Serves until the block ends.

    Attributes:
        faults: what befalls the next requests: a status, `slow`, `drop`, `empty`, `garbage`, `fewer`.
        requests: the bodies of all requests, refused ones too.
        url: up to `/v1`.
    """

    def __init__(self, model: Any, tokenizer: Any, *, name: str = "tiny", knows=EXTRAS, key: str | None = None) -> None:
        self.model, self.tokenizer, self.name, self.knows, self.key = model, tokenizer, name, set(knows), key
        self.faults: deque[str] = deque()
        self.slow_seconds = 1.0
        self.requests: list[dict[str, Any]] = []
        self.lock = threading.Lock()

    def start(self, port: int = 0) -> OpenAIServer:
        handler = type("Handler", (_Handler,), {"owner": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def __enter__(self) -> OpenAIServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        import torch
        from simko.trainers.evaluation.sampling import end_tokens

        prompt, n = body["prompt"], body.get("n", 1)
        ids = self.tokenizer(prompt)["input_ids"] if isinstance(prompt, str) else prompt
        ends = end_tokens(self.model, self.tokenizer)
        with self.lock, torch.no_grad():
            if "seed" in body:
                torch.manual_seed(body["seed"])
            output = self.model.generate(
                torch.tensor([ids] * n),
                attention_mask=torch.ones(n, len(ids), dtype=torch.long),
                do_sample=True,
                max_new_tokens=body["max_tokens"],
                temperature=body["temperature"],
                top_p=body["top_p"],
                top_k=0,
                eos_token_id=ends,
                pad_token_id=self.tokenizer.pad_token_id,
            )
        choices = [self._choice(i, row[len(ids) :].tolist(), ends, body) for i, row in enumerate(output)]
        used = sum(len(choice.get("token_ids") or []) for choice in choices)
        for choice in choices:
            if not body.get("return_token_ids"):
                del choice["token_ids"]
        return {"object": "text_completion", "choices": choices, "usage": {"completion_tokens": used}}

    def _choice(self, index: int, row: list[int], ends: list[int], body: dict[str, Any]) -> dict[str, Any]:
        end = next((place for place, token in enumerate(row) if token in ends), None)
        tokens = row if end is None else row[: end + 1]
        text = self.tokenizer.decode(tokens, skip_special_tokens=body.get("skip_special_tokens", True))
        choice: dict[str, Any] = {"index": index, "text": text, "token_ids": tokens}
        choice["finish_reason"] = "length" if end is None else "stop"
        for stop in body.get("stop") or ():
            if stop in text:
                choice |= {"text": text[: text.index(stop)], "finish_reason": "stop"}
        choice["logprobs"] = {"tokens": [str(t) for t in tokens]} if "logprobs" in body else None
        return choice

    def unknown(self, body: dict[str, Any]) -> str | None:
        """The first extra of a request that this server does not take."""
        if isinstance(body["prompt"], list) and "token_ids" not in self.knows:
            return "token_ids"
        return next((extra for extra, name in _AS_ASKED.items() if name in body and extra not in self.knows), None)


class _Handler(BaseHTTPRequestHandler):
    owner: OpenAIServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if self._fault() or self._forbidden():
            return
        if self.path == "/v1/models":
            self._send(200, {"object": "list", "data": [{"id": self.owner.name}]})
        elif self.path == "/health":
            self._send(200, {})
        else:
            self._send(404, {"error": {"message": "no such path"}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.owner.requests.append(body)
        if self._forbidden():
            return
        if self.owner.faults and self.owner.faults[0] == "fewer":
            self.owner.faults.popleft()
            body["n"] = 1
        elif self._fault():
            return
        if unknown := self.owner.unknown(body):
            self._send(400, {"error": {"message": f"unknown field {unknown}"}})
        elif body["max_tokens"] > 4096:
            self._send(400, {"error": {"message": "maximum context length is 4096 tokens"}})
        else:
            self._send(200, self.owner.complete(body))

    def _forbidden(self) -> bool:
        wrong = self.owner.key is not None and self.headers.get("authorization") != f"Bearer {self.owner.key}"
        if wrong:
            self._send(401, {"error": {"message": "wrong key"}})
        return wrong

    def _fault(self) -> bool:
        if not self.owner.faults:
            return False
        fault = self.owner.faults.popleft()
        if fault == "slow":
            time.sleep(self.owner.slow_seconds)
            return False
        if fault == "drop":
            self.connection.close()
            self.close_connection = True
        elif fault == "empty":
            self._send(200, {"choices": []})
        elif fault == "garbage":
            self._raw(200, b"<html>not here</html>")
        else:
            self._send(int(fault), {"error": {"message": "a fault by request"}}, {"Retry-After": "0"})
        return True

    def _send(self, status: int, content: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        self._raw(status, json.dumps(content).encode(), headers)

    def _raw(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        try:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
        except OSError:  # whoever asked has left
            self.close_connection = True


def main() -> None:
    """As `python -m vllm.entrypoints.openai.api_server`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--served-model-name", required=True)
    options, _ = parser.parse_known_args()
    sys.path.insert(0, str(Path(__file__).parent))
    from simko.trainers.models.loading import load_model

    OpenAIServer(*load_model(options.model), name=options.served_model_name).start(options.port)
    print("serving", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
