"""Fixtures of several folders."""

import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Server:
    """A MariaDB server with an empty database `mlmd` and a user `mlmd` for it."""

    port: int
    password: str


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory):
    """A real server of Debian's package, on a port of its own."""
    password = "correct horse"
    if not shutil.which("mariadbd") or not shutil.which("mariadb-install-db"):
        pytest.skip("needs a MariaDB server (Debian: apt-get install mariadb-server)")
    folder = tmp_path_factory.mktemp("mariadb")
    data = folder / "data"
    as_root = ["--user=root"] if os.geteuid() == 0 else []
    subprocess.run(
        [
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
            *as_root,
        ],
        check=True,
        capture_output=True,
    )
    init = folder / "init.sql"
    init.write_text(
        "CREATE DATABASE mlmd;\n"
        f"CREATE USER 'mlmd'@'%' IDENTIFIED BY '{password}';\n"
        "GRANT ALL ON mlmd.* TO 'mlmd'@'%';\n"
        # Without this the anonymous user of localhost comes first.
        f"CREATE USER 'mlmd'@'localhost' IDENTIFIED BY '{password}';\n"
        "GRANT ALL ON mlmd.* TO 'mlmd'@'localhost';\n"
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = [f"--datadir={data}", f"--port={port}", "--bind-address=127.0.0.1", f"--socket={folder}/socket"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            ["mariadbd", "--no-defaults", *options, f"--init-file={init}", *as_root], stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield Server(port=port, password=password)
    finally:
        process.terminate()
        process.wait()
