"""As much of the Hugging Face Hub as pushing and pulling needs, on this machine, and a record of all that it was sent."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


class Repository:
    def __init__(self, private: bool = False) -> None:
        self.private = private
        self.files: dict[str, bytes] = {}  # name -> content
        self.claimed: dict[str, int] = {}  # name -> the size that it is said to have, where that is a lie

    @property
    def sha(self) -> str:
        content = b"".join(name.encode() + body for name, body in sorted(self.files.items()))
        return hashlib.sha1(content).hexdigest()


class FakeHub:
    """Attributes:
    repositories: name -> Repository.
    received: (method, path, headers, body) of every request.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.received: list[tuple[str, str, str, bytes]] = []
        self.address = ""

    def api(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """(status, answer as JSON) of a call."""
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = "/".join(part for part in (asked.get("organization"), asked["name"]) if part)
            if name in self.repositories:
                return 409, {"error": "exists", "url": f"{self.address}/{name}"}
            self.repositories[name] = Repository(asked.get("private") or asked.get("visibility") == "private")
            return 200, {"url": f"{self.address}/{name}"}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        match = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(preupload|commit|revision|tree)/([^/]+))?", path)
        if not match or match[1] not in self.repositories:
            return 404, {"error": "Repository not found"}
        repository = self.repositories[match[1]]
        if match[2] == "preupload":
            files = [{"path": file["path"], "uploadMode": "regular"} for file in json.loads(body)["files"]]
            return 200, {"files": [{**file, "shouldIgnore": False, "oid": None} for file in files]}
        if match[2] == "commit":
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    repository.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
                elif entry["key"] == "deletedFile":
                    del repository.files[entry["value"]["path"]]
            return 200, {"commitUrl": f"{self.address}/{match[1]}/commit/{repository.sha}", "commitOid": repository.sha}
        if match[2] == "tree":
            return 200, [
                {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for name, content in repository.files.items()
            ]
        siblings = [
            {"rfilename": name, "size": repository.claimed.get(name, len(content)), "blobId": "0" * 40}
            for name, content in repository.files.items()
        ]
        return 200, {"id": match[1], "sha": repository.sha, "private": repository.private, "siblings": siblings}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, content: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": len(content), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        if status == 404:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _handle(self) -> None:
        body = self._body()
        self.hub.received.append((self.command, self.path, str(self.headers), body))
        path = unquote(urlsplit(self.path).path)
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if not match:
            status, answer = self.hub.api(self.command, path, body)
            return self._answer(status, json.dumps(answer).encode())
        repository = self.hub.repositories.get(match[1])
        if repository is None or match[3] not in repository.files:
            return self._answer(404, b"{}")
        content = repository.files[match[3]]
        tag = f'"{hashlib.sha1(content).hexdigest()}"'
        self._answer(200, content, "application/octet-stream", ETag=tag, X_Repo_Commit=repository.sha)

    do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = _handle

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """A FakeHub that listens."""
    hub = FakeHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
