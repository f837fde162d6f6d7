"""A PostgreSQL server of Debian's package on a port of its own."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

# With what a connection string must quote.
PASSWORD = "correct 'horse\\"
DATABASE = USER = "mlmd"


def find_programs() -> Path | None:
    """Returns the folder of the newest server that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


class Postgresql:
    """A server with an empty database `mlmd` of a user `mlmd`, who signs in with a password.

    Attributes:
        port: On 127.0.0.1.
        password: Of the user.
    """

    def __init__(self, programs: Path):
        self.password = PASSWORD
        self._programs = programs
        # It refuses to be run by root, and its user could not look into a folder of the tests.
        self._user = "postgres" if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="postgresql"))
        if self._user:
            os.chown(self.folder, pwd.getpwnam(self._user).pw_uid, -1)
        secret = self.folder / "password"
        secret.write_text(PASSWORD + "\n")
        secret.chmod(0o644)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        authentication = ["--auth=scram-sha-256", f"--username={USER}", f"--pwfile={secret}"]
        self._call("initdb", f"--pgdata={self.folder}/data", *authentication)

    def start(self) -> None:
        """Starts it, and returns when it answers."""
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder}"
        data = [f"--pgdata={self.folder}/data", f"--log={self.folder}/log"]
        self._call("pg_ctl", "start", "--wait", f"--options={options}", *data)

    def stop(self) -> None:
        """Ends it and removes its files."""
        if (self.folder / "data" / "postmaster.pid").exists():
            self._call("pg_ctl", "stop", "--mode=immediate", f"--pgdata={self.folder}/data")
        shutil.rmtree(self.folder)

    def make_database(self, name: str) -> None:
        """Makes an empty database, anew if there is one."""
        environment = os.environ | {"PGPASSWORD": PASSWORD}
        where = ["--host=127.0.0.1", f"--port={self.port}", f"--username={USER}"]
        for program, options in (("dropdb", ["--if-exists"]), ("createdb", [])):
            command = [str(self._programs / program), *where, *options, name]
            subprocess.run(command, env=environment, cwd="/", check=True, capture_output=True)

    def _call(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._programs / program), *arguments],
            user=self._user,
            cwd="/",
            check=True,
            # A pipe would stay open as long as the server lives.
            stdout=subprocess.DEVNULL,
        )
