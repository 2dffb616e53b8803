"""A small Hub on the loopback: serves repositories given as bytes to the real clients, and counts what they ask for."""

import hashlib
import json
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import unquote, urlsplit

Kind = Literal["models", "datasets"]
Fault = Literal["gated", "unavailable", "truncated"]


@dataclass(frozen=True)
class Illness:
    """What is wrong with a Hub: its answers, or how it sends them."""

    status: int = 0  # answered instead of the content
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    stall_at: int | None = None  # the byte of an answer after which nothing comes
    reset_at: int | None = None  # the byte of an answer after which the connection is reset
    seconds_per_byte: float = 0.0
    only_files: bool = False  # the content of files, not what is known about them
    times: int | None = None  # how many answers; without it, all


PAGE = b"<!doctype html><html><title>Sign in to Guest-WiFi</title></html>"
HTML = {"Content-Type": "text/html"}

FAULTS = {
    "401": Illness(401),
    "403": Illness(403),
    "404": Illness(404),
    "429": Illness(429),
    "429, Retry-After: 3600": Illness(429, {"Retry-After": "3600"}),
    "500": Illness(500),
    "502": Illness(502, HTML, PAGE),
    "503": Illness(503),
    "504": Illness(504, HTML, PAGE),
    "a proxy's page": Illness(200, HTML, PAGE),
    "a proxy's page, 403": Illness(403, HTML, PAGE),
    "silence": Illness(stall_at=0),
    "stall in the headers": Illness(stall_at=20),
    "stall in the answer": Illness(stall_at=190),
    "1 byte a second": Illness(seconds_per_byte=1.0),
    "reset at once": Illness(reset_at=0),
    "reset in the headers": Illness(reset_at=20),
    "reset in the answer": Illness(reset_at=190),
}
"""Illnesses of a whole Hub."""

FILE_FAULTS = {
    "403 for files": Illness(403, only_files=True),
    "404 for files": Illness(404, only_files=True),
    "503 for files": Illness(503, only_files=True),
    "a proxy's page for files": Illness(200, HTML, PAGE, only_files=True),
    "stall before a file": Illness(stall_at=0, only_files=True),
    "stall in a file": Illness(stall_at=700, only_files=True),
    "1 byte a second in files": Illness(seconds_per_byte=1.0, only_files=True),
    "reset in a file": Illness(reset_at=700, only_files=True),
}
"""Illnesses that a Hub shows only when the content of a file is asked for."""


@dataclass
class LocalHub:
    """The repositories of a local Hub, and the requests it answered."""

    url: str = ""
    repositories: dict[tuple[Kind, str], dict[str, bytes]] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)  # repository id -> how it fails
    requests: list[str] = field(default_factory=list)  # "GET /datasets/a/b/resolve/..."
    ranges: list[str] = field(default_factory=list)  # of the requests that ask for a part of a file
    illness: Illness = Illness()
    stopped: threading.Event = field(default_factory=threading.Event)

    def add(self, kind: Kind, repository: str, files: Mapping[str, bytes]) -> str:
        """Publish a repository and return its commit."""
        self.repositories[kind, repository] = dict(files)
        return commit_of(files)

    def fetched(self) -> set[str]:
        """Return the paths of the files whose content was asked for."""
        return {
            line.split("/resolve/")[1].split("/", 1)[1]
            for line in self.requests
            if line.startswith("GET") and "/resolve/" in line
        }


def commit_of(files: Mapping[str, bytes]) -> str:
    """Return the 40 hexadecimal digits that name this content."""
    digest = hashlib.sha1(usedforsecurity=False)
    for path in sorted(files):
        digest.update(path.encode() + b"\0" + files[path] + b"\0")
    return digest.hexdigest()


@contextmanager
def local_hub() -> Iterator[LocalHub]:
    """Serve an empty local Hub on a free port until the block ends."""
    hub = LocalHub()

    class Handler(_Handler):
        served = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    served: LocalHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._route()

    def do_GET(self) -> None:
        self._route()

    def do_POST(self) -> None:
        self._route()

    def log_message(self, *_: object) -> None:
        pass

    def setup(self) -> None:
        super().setup()
        self.plain = self.wfile

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, _GoneError):
            self.close_connection = True
        finally:
            self.wfile = self.plain

    def _route(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path).strip("/")
        self.served.requests.append(f"{self.command} /{path}")
        parts = path.split("/")
        illness = self.served.illness
        is_file = self.command == "GET" and "resolve" in parts
        if illness != Illness() and (is_file or not illness.only_files) and illness.times != 0:
            if illness.times:
                self.served.illness = replace(illness, times=illness.times - 1)
            self.wfile = _IllWriter(self, illness)  # type: ignore[assignment]
            if illness.status:
                headers = {name: self._echo(value) for name, value in illness.headers.items()}
                self._send(illness.status, illness.body, headers)
                return
        if parts[0] == "api" and len(parts) >= 4:
            self._api(parts[1], "/".join(parts[2:4]), parts[4:], body)
        elif "resolve" in parts:
            kind: Kind = "datasets" if parts[0] == "datasets" else "models"
            at = parts.index("resolve")
            self._resolve(kind, "/".join(parts[at - 2 : at]), parts[at + 1 :])
        else:
            self._send(200, b"{}")

    def _echo(self, value: str) -> str:
        """Fill in what the client sent to prove who it is."""
        return value.replace("{authorization}", self.headers.get("Authorization", ""))

    def _files(self, kind: str, repository: str) -> dict[str, bytes] | None:
        """Return the files of a repository, or answer with what is wrong with it."""
        match self.served.faults.get(repository):
            case "gated":
                self._send(403, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
                return None
            case "unavailable":
                self._send(503, b"{}")
                return None
        files = self.served.repositories.get((kind, repository))  # type: ignore[call-overload]
        if files is None:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
        return files

    def _revision_known(self, files: Mapping[str, bytes], revision: str) -> bool:
        if revision in ("main", "refs/convert/parquet", commit_of(files)):
            return True
        self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Revision not found"})
        return False

    def _api(self, kind: str, repository: str, rest: list[str], body: bytes) -> None:
        files = self._files(kind, repository)
        if files is None:
            return
        commit = commit_of(files)
        verb, *where = rest or ["revision", "main"]
        revision, where = (
            ("refs/convert/parquet", where[3:]) if where[:1] == ["refs"] else ("".join(where[:1]), where[1:])
        )
        if not self._revision_known(files, revision):
            return
        if verb == "revision":
            siblings = [{"rfilename": path} for path in files]
            facts = {
                "id": repository,
                "sha": commit,
                "private": False,
                "gated": False,
                "disabled": False,
                "tags": [],
                "downloads": 0,
                "likes": 0,
                "siblings": siblings,
            }
            self._send(200, json.dumps(facts).encode())
        elif verb == "tree":
            self._send(200, json.dumps(_tree(files, "/".join(where))).encode())
        elif verb == "paths-info":
            wanted = json.loads(body or b"{}").get("paths", [])
            self._send(200, json.dumps([_entry(path, files[path]) for path in wanted if path in files]).encode())
        else:
            self._send(404, b"{}")

    def _resolve(self, kind: Kind, repository: str, rest: list[str]) -> None:
        files = self._files(kind, repository)
        if files is None:
            return
        revision, path = (
            ("/".join(rest[:3]), "/".join(rest[3:])) if rest[0] == "refs" else (rest[0], "/".join(rest[1:]))
        )
        if not self._revision_known(files, revision):
            return
        headers = {"X-Repo-Commit": commit_of(files)}
        if path not in files:
            self._send(404, b"{}", headers | {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"})
            return
        content = files[path]
        headers |= {"ETag": f'"{_etag(content)}"', "Accept-Ranges": "bytes"}
        cut = self.served.faults.get(repository) == "truncated" and path.endswith((".parquet", ".safetensors"))
        if (span := self.headers.get("Range")) and not cut:
            self.served.ranges.append(span)
            start, _, last = span.removeprefix("bytes=").partition("-")
            part = content[int(start) : int(last) + 1 if last else None]
            headers |= {"Content-Range": f"bytes {start}-{int(start) + len(part) - 1}/{len(content)}"}
            self._send(206, part, headers)
            return
        self._send(200, content, headers, sent=len(content) // 2 if cut else None)

    def _send(
        self, status: int, body: bytes, headers: Mapping[str, str] | None = None, sent: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            **(headers or {}),
            "Content-Length": str(len(body)),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:sent])
        if sent is not None:
            self.close_connection = True


class _GoneError(Exception):
    """The connection ends here."""


class _IllWriter:
    """Sends an answer as an ill Hub does."""

    def __init__(self, handler: _Handler, illness: Illness) -> None:
        self.handler = handler
        self.illness = illness
        self.sent = 0

    def write(self, content: bytes) -> int:
        illness, stopped = self.illness, self.handler.served.stopped
        if illness.seconds_per_byte:
            for position in range(len(content)):
                self.handler.plain.write(content[position : position + 1])
                if stopped.wait(illness.seconds_per_byte):
                    raise _GoneError
            return len(content)
        end = illness.stall_at if illness.stall_at is not None else illness.reset_at
        if end is None or self.sent + len(content) <= end:
            self.sent += len(content)
            return self.handler.plain.write(content)
        self.handler.plain.write(content[: max(0, end - self.sent)])
        if illness.stall_at is not None:
            stopped.wait()
        else:
            stopped.wait(0.05)  # what was sent arrives; a reset discards what has not been read
            self.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.handler.rfile.close()
            self.handler.connection.close()
        raise _GoneError

    def flush(self) -> None:
        pass


def _etag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _entry(path: str, content: bytes) -> dict[str, object]:
    return {"type": "file", "path": path, "oid": _etag(content)[:40], "size": len(content)}


def _tree(files: Mapping[str, bytes], folder: str) -> list[dict[str, object]]:
    prefix = f"{folder}/" if folder else ""
    entries: dict[str, dict[str, object]] = {}
    for path, content in sorted(files.items()):
        if path.startswith(prefix):
            entries[path] = _entry(path, content)
            for end in (at for at, sign in enumerate(path) if sign == "/" and at >= len(prefix)):
                entries.setdefault(path[:end], {"type": "directory", "path": path[:end], "oid": "0" * 40, "size": 0})
    return list(entries.values())
