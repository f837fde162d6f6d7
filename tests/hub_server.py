"""A server that answers as the Hugging Face hub does, for the hub's own client."""

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass
class HubServer:
    """Repositories by commit, and the names of commits.

    Attributes:
        url: The server's.
        commits: Files by path, by repository and commit.
        names: Commits by repository and revision; `main` is the newest.
        gated: Repositories that need `token`.
        requests: Method and path of each.
    """

    url: str = ""
    commits: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    names: dict[tuple[str, str], str] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    token: str = "hf_secret"
    requests: list[str] = field(default_factory=list)

    def put(self, repository: str, folder: Path, *revisions: str) -> str:
        """Commits a folder's files to `main` and under further names; returns the commit."""
        files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
        digest = hashlib.sha1(repository.encode())
        for name, content in files.items():
            digest.update(name.encode() + content)
        commit = digest.hexdigest()
        self.commits[repository, commit] = files
        for revision in ("main", *revisions):
            self.names[repository, revision] = commit
        return commit

    def find(self, repository: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        commit = self.names.get((repository, revision), revision)
        files = self.commits.get((repository, commit))
        return None if files is None else (commit, files)


def serve(server: HubServer) -> ThreadingHTTPServer:
    """Serves on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self._answer()

        def do_HEAD(self):
            self._answer()

        def _answer(self):
            path = unquote(urlsplit(self.path).path)
            server.requests.append(f"{self.command} {path}")
            status, headers, body = self._find(path)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def _find(self, path):
            parts = path.strip("/").split("/")
            if parts[:2] == ["api", "models"]:
                repository, kind, revision = "/".join(parts[2:4]), parts[4], "/".join(parts[5:])
            else:
                repository, kind, revision = "/".join(parts[:2]), parts[2], parts[3]
            if not any(known == repository for known, _ in server.commits):
                return 401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}, b""
            if repository in server.gated and self.headers.get("Authorization") != f"Bearer {server.token}":
                message = f"Access to model {repository} is restricted."
                return 401, {"X-Error-Code": "GatedRepo", "X-Error-Message": message}, b""
            found = server.find(repository, revision)
            if found is None:
                return 404, {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"}, b""
            commit, files = found
            if kind == "revision":
                body = {"id": repository, "sha": commit, "siblings": [{"rfilename": name} for name in files]}
                return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()
            if kind == "tree":
                body = [
                    {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                    for name, content in files.items()
                ]
                return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()
            content = files.get("/".join(parts[4:]))
            if content is None:
                return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}, b""
            headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": commit}
            return 200, headers, content

        def log_message(self, *_):
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{web.server_port}"
    threading.Thread(target=web.serve_forever, daemon=True).start()
    return web
