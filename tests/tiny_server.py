"""A server on loopback with OpenAI's protocol, whose answers are the hf engine's on a tiny model."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tiny import tiny_llama

from bench.engine import EngineSettings, GenerationRequest
from bench.engine_registry import open_engine

TEMPLATE = (
    "{% for m in messages %}{{ m.role }} : {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}answer :{% endif %}"
)

Fault = tuple[int, dict[str, str], bytes]
"""A status, headers and a body in place of an answer."""
_OPENAI = frozenset(
    {
        *("model", "prompt", "messages", "max_tokens", "temperature", "top_p", "n", "frequency_penalty"),
        *("presence_penalty", "stream", "stop", "echo", "logprobs"),
    }
)


def chatting_llama(folder: Path) -> Path:
    """A Llama with a chat template, whose answers differ from prompt to prompt."""
    tiny_llama(folder, width=128, initializer_range=0.1)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


@dataclass
class TinyServer:
    """What a server has, and what it was asked.

    Attributes:
        model: folder of the model.
        name: what it is called.
        lacks: what it does not do, of "ids", "echo", "extras", "choices", "tokenize", "chat", "completions",
            "usage"; "heed" is that it ignores what is not OpenAI's.
        room: it cuts longer prompts from their left.
        fault: called with a path, a body and the number of the request; what it returns is sent instead.
        asked: path, headers and body of every request.
    """

    model: Path
    name: str = "tiny"
    lacks: frozenset[str] = frozenset()
    fault: Callable[[str, Any, int], Fault | None] = lambda path, body, number: None
    asked: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    room: int | None = None
    url: str = ""
    card: dict[str, Any] = field(default_factory=lambda: {"owned_by": "tests", "max_model_len": 2048})

    def __post_init__(self) -> None:
        self.engine = open_engine(self.model, EngineSettings(name="hf", dtype="float32", device="cpu"))
        self.lock = threading.Lock()

    def bodies(self, path: str) -> list[Any]:
        """Bodies of the requests to a path."""
        return [body for asked, _, body in self.asked if asked == path]

    def answer(self, path: str, body: Any) -> tuple[int, Any]:
        """Status and content of an answer."""
        tokenizer = self.engine.tokenizer
        if path == "/v1/models":
            return 200, {"data": [{"id": self.name, **self.card}]}
        if path.removeprefix("/v1/") in ("completions", "chat/completions"):
            return self._generation(path, body)
        if path == "/tokenize" and "messages" in body and "tokenize" not in self.lacks:
            return 200, {"tokens": tokenizer.encode(self._written(body), add_special_tokens=False)}
        if path == "/detokenize" and "tokenize" not in self.lacks:
            return 200, {"prompt": tokenizer.decode(body["tokens"])}
        if path == "/tokenize" and "tokenize" not in self.lacks:
            special = body["add_special_tokens"]
            return 200, {"tokens": tokenizer.encode(body["prompt"], add_special_tokens=special)}
        return 404, {"detail": "Not Found"}

    def _generation(self, path: str, body: Any) -> tuple[int, Any]:
        refusal = self._refusal(path, body)
        if refusal is not None:
            return refusal
        if "heed" in self.lacks:
            body = {name: value for name, value in body.items() if name in _OPENAI}
        status, answer = self._chat(body) if "chat" in path else self._completion(body)
        if "usage" in self.lacks:
            answer.pop("usage", None)
        return status, answer

    def _refusal(self, path: str, body: Any) -> tuple[int, Any] | None:
        if path.split("/")[2] in self.lacks:
            return 404, {"detail": "Not Found"}
        if body["model"] != self.name:
            return 404, {"error": {"message": "no such model"}}
        if "extras" in self.lacks and "repetition_penalty" in body:
            return 400, {"error": {"message": "unknown field repetition_penalty"}}
        if len(body.get("stop") or ()) > 4:
            return 400, {"error": {"message": "at most 4 stop strings"}}
        return None

    def _chat(self, body: Any) -> tuple[int, Any]:
        text = self._written(body)
        ids = self.engine.tokenizer.encode(text, add_special_tokens=False)
        choice, usage = self._generated(ids, body)
        choice["message"] = {"role": "assistant", "content": choice.pop("text")}
        return 200, {"choices": [choice], "usage": usage}

    def _written(self, body: Any) -> str:
        arguments = body.get("chat_template_kwargs") or {}
        text: str = self.engine.tokenizer.apply_chat_template(
            body["messages"],
            tokenize=False,
            add_generation_prompt=body.get("add_generation_prompt", True),
            continue_final_message=body.get("continue_final_message", False),
            **arguments,
        )
        return text

    def _completion(self, body: Any) -> tuple[int, Any]:
        prompt = body["prompt"]
        if not isinstance(prompt, str) and "ids" in self.lacks:
            return 422, {"detail": "prompt must be a text"}
        ids = self.engine.tokenizer.encode(prompt) if isinstance(prompt, str) else prompt
        if len(ids) + body["max_tokens"] > self.card.get("max_model_len", 2048):
            return 400, {"error": {"message": "too long"}}
        ids = ids[-self.room :] if self.room else ids
        choice, usage = self._generated(ids, body)
        if "logprob_token_ids" in body and "choices" not in self.lacks:
            choice["logprobs"] = self._choices(ids, body["logprob_token_ids"])
        if body.get("echo") and "echo" not in self.lacks:
            choice["logprobs"] = self._echo(ids, bool(body.get("return_tokens_as_token_ids")))
        return 200, {"choices": [choice], "usage": usage}

    def _generated(self, ids: list[int], body: Any) -> tuple[dict[str, Any], dict[str, int]]:
        with self.lock:
            stop = tuple(body.get("stop") or ())
            penalty = body.get("repetition_penalty", 1.0)
            request = GenerationRequest(tuple(ids), body["max_tokens"], stop, repetition_penalty=penalty)
            answer = self.engine.generate([request])[0]
        choice = {"text": answer.text, "finish_reason": "length" if answer.cut else "stop"}
        if body.get("return_token_ids"):
            end = [self.engine.tokenizer.eos_token_id] if answer.ended else []
            choice["token_ids"] = [*answer.ids, *end]
        return choice, {"prompt_tokens": len(ids), "completion_tokens": answer.tokens}

    def _choices(self, ids: list[int], tokens: list[int]) -> dict[str, Any]:
        with self.lock:
            likelihoods = self.engine.loglikelihood([(ids, [token]) for token in tokens])
            _, likeliest = next(self.engine.distributions([(ids, tokens[:1])], 1))
        told = zip(tokens, likelihoods, strict=True)
        top = {f"token_id:{token}": likelihood.logprob for token, likelihood in told}
        return {"tokens": [f"token_id:{likeliest.tokens.item()}"], "top_logprobs": [top]}

    def _echo(self, ids: list[int], as_ids: bool) -> dict[str, Any]:
        with self.lock:
            greedy = self.engine.generate([GenerationRequest(tuple(ids), 1)])[0].ids
            pair = (ids[:1], [*ids[1:], *greedy])
            likelihood = self.engine.loglikelihood([pair])[0]
            _, likeliest = next(self.engine.distributions([pair], 1))
        tokens = [*ids, *greedy]
        top = [{f"token_id:{token}": value} for [token], [value] in zip(
            likeliest.tokens.tolist(), likeliest.logprobs.tolist(), strict=True
        )]  # fmt: skip
        name = (lambda token: f"token_id:{token}") if as_ids else self.engine.tokenizer.decode
        return {
            "tokens": [name(token) for token in tokens],
            "token_logprobs": [None, *map(float, likelihood.logprobs)],
            "top_logprobs": [None, *top],
        }


def _handler(server: TinyServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._reply(None)

        def do_POST(self) -> None:
            self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def log_message(self, *_: Any) -> None:
            pass

        def _reply(self, body: Any) -> None:
            server.asked.append((self.path, dict(self.headers), body))
            fault = server.fault(self.path, body, len(server.asked))
            if fault is not None:
                status, headers, content = fault
            else:
                status, answer = server.answer(self.path, body)
                headers, content = {}, json.dumps(answer).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

    return Handler


@contextmanager
def serving(server: TinyServer) -> Iterator[TinyServer]:
    """Serve on a free port of loopback."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    http.daemon_threads = True
    http.handle_error = lambda *_: None  # of clients that do not wait for an answer
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_port}/v1"
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
