"""A hub on the loopback that keeps what is sent to it, with the endpoints that the library calls to push."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

TOKEN = "hf_ThisIsTheSecret"


class Hub:
    """What the hub holds.

    Attributes:
        repositories: whether each is private.
        files: by branch, its files after the last commit: a commit adds and deletes, and keeps the rest.
        branches: that were made.
        messages: of the commits.
        requests: every request, as `METHOD path`.
        refuses: the status that every request is answered with, in place of what it asks.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, bool] = {}
        self.files: dict[str, dict[str, bytes]] = {}
        self.branches: list[str] = []
        self.messages: list[str] = []
        self.requests: list[str] = []
        self.refuses: int | None = None
        self._stored: dict[str, bytes] = {}
        self.address = ""

    def answer(self, method: str, path: str, body: bytes, token: str) -> tuple[int, Any, dict[str, str]]:
        """Status, content and headers for a request."""
        self.requests.append(f"{method} {path}")
        parts = [unquote(part) for part in path.partition("?")[0].strip("/").split("/")]
        if parts[0] == "storage":
            self._stored[parts[1]] = body
            return 200, {}, {}
        if token != f"Bearer {TOKEN}":
            return 401, {"error": f"Invalid credentials: {token}"}, {}
        if self.refuses is not None:
            return self.refuses, {"error": f"no, not with {token}"}, {"X-Error-Message": "not today"}
        try:
            if parts[2:3] == ["resolve"]:
                content = self.files[parts[3]]["/".join(parts[4:])]
                digest = hashlib.sha256(content).hexdigest()
                return 200, content, {"ETag": f'"{digest}"', "X-Repo-Commit": "0" * 40}
            return 200, self._answer(method, parts, body), {}
        except LookupError:
            return 404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"}

    def _answer(self, method: str, parts: list[str], body: bytes) -> Any:
        answer: dict[str, Any] = {}
        match parts:
            case ["api", "models", owner, name] if method == "GET":
                private = self.repositories[f"{owner}/{name}"]
                answer = {"id": f"{owner}/{name}", "private": private, "sha": "0" * 40}
            case ["api", "repos", "create"]:
                asked = json.loads(body)
                repository = f"{asked['organization']}/{asked['name']}"
                self.repositories[repository] = asked["visibility"] == "private"
                answer = {"url": f"{self.address}/{repository}"}
            case ["api", "validate-yaml"]:
                answer = {"errors": [], "warnings": []}
            case ["api", "models", _, _, "branch", branch]:
                self.branches.append(branch)
                self.files[branch] = dict(self.files.get("main", {}))
            case ["api", "models", _, _, "tree", branch]:
                return [
                    {"type": "file", "path": path, "size": len(content), "oid": "0" * 40}
                    for path, content in self.files.get(branch, {}).items()
                ]
            case ["api", "models", _, _, "preupload", _]:
                answer = {"files": [self._mode(file["path"]) for file in json.loads(body)["files"]]}
            case [_, _, "info", "lfs", "objects", "batch"]:
                objects = [self._upload(one) for one in json.loads(body)["objects"]]
                answer = {"transfer": "basic", "objects": objects}
            case ["api", "models", owner, name, "commit", branch]:
                lines = [json.loads(line) for line in body.splitlines()]
                self.messages.append(lines[0]["value"]["summary"])
                for line in lines[1:]:
                    self._commit(self.files.setdefault(branch, {}), line)
                url = f"{self.address}/{owner}/{name}/commit/{'1' * 40}"
                answer = {"commitUrl": url, "commitOid": "1" * 40}
            case _:
                raise LookupError(parts)
        return answer

    def _mode(self, path: str) -> dict[str, Any]:
        mode = "lfs" if path.endswith(".safetensors") else "regular"
        return {"path": path, "uploadMode": mode, "shouldIgnore": False}

    def _upload(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {**asked, "actions": {"upload": {"href": f"{self.address}/storage/{asked['oid']}"}}}

    def _commit(self, files: dict[str, bytes], line: dict[str, Any]) -> None:
        if line["key"] == "deletedFile":
            del files[line["value"]["path"]]  # the hub refuses to delete what is not there
        else:
            path, content = self._kept(line)
            files[path] = content

    def _kept(self, line: dict[str, Any]) -> tuple[str, bytes]:
        value = line["value"]
        if line["key"] == "lfsFile":
            content = self._stored[value["oid"]]
            assert hashlib.sha256(content).hexdigest() == value["oid"]
            return value["path"], content
        return value["path"], base64.b64decode(value["content"])


@contextmanager
def serving() -> Iterator[Hub]:
    """Serve a hub; its `address` is what HF_ENDPOINT is set to."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def any_method(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answered = hub.answer(self.command, self.path, body, self.headers.get("Authorization") or "")
            status, content, headers = answered
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    for name in ("GET", "POST", "PUT", "HEAD"):
        setattr(Handler, f"do_{name}", Handler.any_method)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
