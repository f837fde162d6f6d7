"""A MariaDB server of Debian's package on a port of its own, which can be killed and started again."""

import os
import socket
import subprocess
import time
from pathlib import Path

PASSWORD = "correct horse"
DATABASE = USER = "mlmd"


class MariaDb:
    """A server with an empty database `mlmd` and a user `mlmd` for it.

    Args:
        folder: Where its files go.

    Attributes:
        port: On 127.0.0.1; the same after it is started again.
        password: Of the user.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.password = PASSWORD
        self._as_root = ["--user=root"] if os.geteuid() == 0 else []
        subprocess.run(
            [
                "mariadb-install-db",
                "--no-defaults",
                f"--datadir={folder}/data",
                "--auth-root-authentication-method=normal",
                *self._as_root,
            ],
            check=True,
            capture_output=True,
        )
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        (folder / "init.sql").write_text(
            f"CREATE DATABASE IF NOT EXISTS {DATABASE};\n"
            # Without the second one the anonymous user of localhost comes first.
            + "".join(
                f"CREATE USER IF NOT EXISTS '{USER}'@'{host}' IDENTIFIED BY '{PASSWORD}';\n"
                f"GRANT ALL ON *.* TO '{USER}'@'{host}';\n"
                for host in ("%", "localhost")
            )
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, and returns when it answers."""
        options = [
            f"--datadir={self.folder}/data",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            f"--socket={self.folder}/socket",
            f"--init-file={self.folder}/init.sql",
        ]
        with (self.folder / "log").open("a") as log:
            process = subprocess.Popen(
                ["mariadbd", "--no-defaults", *options, *self._as_root], stdout=log, stderr=subprocess.STDOUT
            )
        self._process = process
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None and time.monotonic() < deadline, (self.folder / "log").read_text()
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)

    def kill(self) -> None:
        """Ends it as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Ends it, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()

    def make_database(self, name: str) -> None:
        """Makes an empty database, anew if there is one."""
        subprocess.run(
            ["mariadb", "--no-defaults", f"--socket={self.folder}/socket", f"--user={USER}", f"--password={PASSWORD}"],
            input=f"DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name};",
            text=True,
            check=True,
        )
