"""The server of `storage_server.py` as a process of its own, and what tests know of it.

Some of TensorFlow's writers wait for the answer without letting other threads of Python run: it cannot be a thread.
"""

import http.server
import json
import socketserver
import ssl
import subprocess
import sys
import threading
import urllib.request
import uuid
from pathlib import Path
from typing import Any

_HOSTS = ("storage.googleapis.com", "www.googleapis.com", "oauth2.googleapis.com")


def serve(bucket: str, certificate: str, key: str) -> socketserver.TCPServer:
    """Returns what answers on a port of its own, once it is told to."""
    from storage_server import StorageServer, split_target  # beside this file, which is run as a script

    server = StorageServer(bucket)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_CONNECT(self):
            if self.path.partition(":")[0] not in _HOSTS:
                server.problems.append(f"CONNECT {self.path}: the test must not go there")
                self.send_error(403)
                return
            self.send_response(200)
            self.end_headers()
            try:
                self.connection = self.request = context.wrap_socket(self.connection, server_side=True)
            except OSError as error:
                server.problems.append(f"CONNECT {self.path}: {error}")
                self.close_connection = True
                return
            self.setup()
            self.close_connection = False

        def _answer(self):
            body = self._read_chunks() if self.headers.get("Transfer-Encoding") == "chunked" else self._read_body()
            reply = server.answer(self.command, *split_target(self.path), self.headers, body)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def _read_body(self):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _read_chunks(self):
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        do_GET = do_POST = do_DELETE = do_PUT = _answer  # noqa: N815 - names that http.server looks for

        def log_message(self, *arguments):
            """Keeps the test's output clean."""

    class Server(socketserver.ThreadingTCPServer):  # http.server's own asks a name server for its name
        daemon_threads = True
        request_queue_size = 128

    return Server(("127.0.0.1", 0), Handler)


class Bucket:
    """The server in a process of its own.

    Attributes:
        url: the bucket's address, another one each time: for some seconds TensorFlow remembers what was there.
        environment: the variables with which Google's libraries ask this server.
    """

    def __init__(self, certificate: Path, key: Path, folder: Path):
        """Starts it.

        Args:
            certificate: for Google's hosts; see `write_certificate`.
            key: of the certificate.
            folder: for the account's file.
        """
        name = f"bucket-{uuid.uuid4().hex}"
        self.url = f"gs://{name}"
        self._process = subprocess.Popen(
            [sys.executable, __file__, name, str(certificate), str(key)],
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
        )
        self._place = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        account = {"type": "authorized_user", "client_id": "id", "client_secret": "none", "refresh_token": "none"}
        credentials = folder / "account.json"
        credentials.write_text(json.dumps(account))
        self.environment = {
            **dict.fromkeys(("HTTPS_PROXY", "https_proxy"), self._place),
            **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost"),
            **dict.fromkeys(("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"), str(certificate)),
            "GOOGLE_APPLICATION_CREDENTIALS": str(credentials),
            "GOOGLE_CLOUD_PROJECT": "my-project",
            "CLOUDSDK_CONFIG": str(folder / "no_gcloud"),
            "NO_GCE_CHECK": "true",  # no metadata server is looked for
        }

    def list_files(self, prefix: str = "") -> list[str]:
        """Names of objects that begin with `prefix`, without it and without markers of folders."""
        names = self._read()["objects"]
        return [name.removeprefix(prefix) for name in names if name.startswith(prefix) and not name.endswith("/")]

    def list_history(self) -> list[tuple[str, str]]:
        """("write" or "delete", name) of every change, in order."""
        return [tuple(change) for change in self._read()["history"]]

    def close(self) -> list[str]:
        """Ends the process; returns what was asked of it that it does not know."""
        problems = self._read()["problems"]
        self._process.communicate()
        return problems

    def _read(self) -> dict[str, Any]:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{self._place}/state") as answer:
            return json.load(answer)


def main(bucket: str, certificate: str, key: str) -> None:
    """Answers until the input ends; prints the port first."""
    web = serve(bucket, certificate, key)
    threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    print(web.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
