import json
import operator
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from components.errors import UserError
from components.owned_folders import OWNER, is_abandoned, own_folder
from configs.load import load_runner
from pipeline.execution import child_process, scratch
from pipeline.execution.child_process import ChildDiedError, ChildError, ChildProcess
from pipeline.execution.run_lock import hold_run

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def call(monkeypatch, tmp_path):
    """`call(function, *arguments)`, in a process of its own that waits for no import of TFX."""
    monkeypatch.setattr(child_process, "PRELOAD", ("json",))
    return lambda function, *arguments: ChildProcess(function, arguments, tmp_path / "logs" / "child.log")


def test_the_value_comes_from_another_process(call, tmp_path):
    assert call(json.loads, '{"a": [1, 2.5, null]}').wait() == {"a": [1, 2.5, None]}
    child = call(os.getpid)
    assert child.wait() == child.pid != os.getpid()
    log = (tmp_path / "logs" / "child.log").read_text()
    assert f"getpid in process {child.pid}" in log


def test_what_it_prints_goes_to_the_log_and_what_is_for_the_console_here(call, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os\nprint('noise', flush=True)\nos.write(2, b'native noise')\n"
        "os.write(int(os.environ['PIPELINE_CONSOLE_FD']), b'step 1/2\\rstep 2/2\\n')\n"
    )
    shown = []
    # What the function returns, a module's names, is nothing that JSON can hold.
    with pytest.raises(ChildError, match="not JSON serializable"):
        call(runpy.run_path, str(script)).wait(shown.append)
    assert b"".join(shown) == b"step 1/2\rstep 2/2\n"
    log = (tmp_path / "logs" / "child.log").read_text()
    assert "noise\nnative noise" in log
    assert "step" not in log


def test_what_libraries_say_while_they_are_loaded_goes_to_the_log(tmp_path):
    (tmp_path / "noisy.py").write_text("import os\nos.write(2, b'no GPU here')\n")
    script = (
        "import os, pathlib\nfrom pipeline.execution import child_process\nchild_process.PRELOAD = ('noisy',)\n"
        "child_process.ChildProcess(os.getpid, (), pathlib.Path('child.log')).wait()\nos.write(2, b'mine')\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "mine")
    assert "no GPU here" in (tmp_path / "child.log").read_text()


@pytest.mark.parametrize("end", ["", "os._exit(3)", "os.kill(os.getpid(), 9)"])
def test_temporary_files_go_when_the_process_has_ended(call, tmp_path, monkeypatch, request, end):
    assert call(json.loads, "1").wait() == 1  # the sockets of this process have their place now
    # The names of tests' own folders are too long for sockets.
    temporary = tempfile.mkdtemp(prefix="t-")
    request.addfinalizer(lambda: shutil.rmtree(temporary))
    monkeypatch.setattr(tempfile, "tempdir", temporary)
    script = tmp_path / "script.py"
    script.write_text(
        "import os, subprocess, sys, tempfile\nfile = tempfile.NamedTemporaryFile(delete=False)\n"
        "other = subprocess.check_output([sys.executable, '-c', 'import tempfile; print(tempfile.mkdtemp())'], text=True)\n"
        f"open({str(tmp_path / 'names')!r}, 'w').write(file.name + ' ' + other)\n{end}\nraise SystemExit\n"
    )
    with pytest.raises(ChildDiedError):
        call(runpy.run_path, str(script)).wait()
    names = (tmp_path / "names").read_text().split()
    assert [name.startswith(f"{temporary}/tuning-") for name in names] == [True, True]
    assert list(Path(temporary).iterdir()) == []


def test_temporary_files_of_a_killed_run_go_with_the_next(call, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    names = [f"tuning-{name}" for name in ("killed", "new", "running", "unowned")]
    for name in names:
        (tmp_path / name).mkdir()
    running = own_folder(str(tmp_path / "tuning-running"))
    own_folder(str(tmp_path / "tuning-killed")).close()
    for name in names:
        if name != "tuning-new":
            os.utime(tmp_path / name, (0, 0))
    assert call(json.loads, "1").wait() == 1
    running.close()
    assert sorted(path.name for path in tmp_path.glob("tuning-*")) == [
        "tuning-new", "tuning-running", "tuning-unowned",
    ]  # fmt: skip


def test_a_log_that_cannot_be_written_hides_no_error(monkeypatch):
    monkeypatch.setattr(child_process, "PRELOAD", ("json",))
    full = Path("/dev/full")
    assert ChildProcess(json.loads, ("[1]",), full).wait() == [1]
    with pytest.raises(ChildError, match="ZeroDivisionError"):
        ChildProcess(operator.floordiv, (1, 0), full).wait()
    with pytest.raises(
        UserError, match="/dev/full could not be written or read: the disk is full|a file could not be written"
    ):
        ChildProcess(write_to_full_disk, (), full).wait()


def write_to_full_disk():
    Path("/dev/full").write_text("x")


def test_errors_that_a_user_can_mend_stay_what_they_are(call):
    with pytest.raises(UserError, match="there is no such file"):
        call(load_runner, "nowhere.yaml").wait()


def test_other_errors_keep_their_type_in_words_and_their_traceback_in_the_log(call, tmp_path):
    with pytest.raises(ChildError, match="ZeroDivisionError: integer division or modulo by zero"):
        call(operator.floordiv, 1, 0).wait()
    assert "Traceback" in (tmp_path / "logs" / "child.log").read_text()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_killed_process_is_an_error_that_names_signal_and_log(call, number, tmp_path):
    with pytest.raises(ChildDiedError, match=f"{number.name}.*{tmp_path}"):
        call(signal.raise_signal, number).wait()


def test_stop_interrupts_as_ctrl_c_does(call):
    child = call(time.sleep, 600)
    threading.Timer(0.2, child.stop).start()
    with pytest.raises((ChildError, ChildDiedError), match="SIGTERM"):
        child.wait()
    child.stop()  # of one that has ended: nothing


def test_children_do_not_outlive_a_killed_parent(tmp_path):
    script = (
        "import os, signal, time\n"
        "from pathlib import Path\n"
        "from pipeline.execution import child_process\n"
        "child_process.PRELOAD = ('json',)\n"
        f"child = child_process.ChildProcess(time.sleep, (600,), Path({str(tmp_path / 'log')!r}))\n"
        "print(child.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    pid = int(done.stdout)
    assert done.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 30
    while os.path.exists(f"/proc/{pid}") and "zombie" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < deadline, "the child lives on"


def test_nothing_of_tensorflows_runtime_starts_before_the_fork():
    """Its threads would be missing in every child."""
    script = (
        "import importlib, threading\n"
        "from pipeline.execution.child_process import PRELOAD\n"
        "for name in PRELOAD: importlib.import_module(name)\n"
        "from tensorflow.python.eager import context\n"
        "print(context._context is None, threading.active_count())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-2:] == ["True", "1"]


def test_processes_start_also_where_the_folder_of_temporary_files_has_a_long_name(tmp_path):
    folder = tmp_path / ("x" * 90)
    folder.mkdir()
    script = (
        "import os, pathlib\nfrom pipeline.execution import child_process\nchild_process.PRELOAD = ('json',)\n"
        "print(child_process.ChildProcess(os.getcwd, (), pathlib.Path('child.log')).wait())\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}\n"), done.stderr


def test_temporary_files_that_stay_are_told(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    assert scratch.describe_long_folder() == ""
    monkeypatch.setattr(tempfile, "tempdir", f"/tmp/{'x' * 60}")
    told = scratch.describe_long_folder()
    assert told.startswith(
        f"Temporary files in /tmp/{'x' * 60} stay when the run has ended: its name has 65 characters"
    )
    # And so it is: sockets below it would have names that are too long.
    (tmp_path / ("x" * 60)).mkdir()
    before = os.environ.get("TMPDIR")
    scratch.use_scratch(str(tmp_path / ("x" * 60)))
    assert os.environ.get("TMPDIR") == before


def test_somebody_elses_folder_is_neither_waited_for_nor_taken(tmp_path):
    os.mkfifo(tmp_path / OWNER)
    assert not is_abandoned(str(tmp_path))
    (tmp_path / OWNER).unlink()
    (tmp_path / OWNER).symlink_to(tmp_path / "other")
    assert not is_abandoned(str(tmp_path))


def test_processes_with_folders_of_their_own_share_one(monkeypatch, tmp_path):
    monkeypatch.delenv("PIPELINE_SHARED_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(scratch, "_LONGEST", 1000)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        scratch.use_scratch(str(tmp_path / name))
        assert tempfile.gettempdir() == str(tmp_path / name)
        assert scratch.get_shared_folder() == str(tmp_path)
    os.environ.pop("PIPELINE_SHARED_TMPDIR")


def test_a_run_is_run_by_one_process_at_a_time(tmp_path):
    script = (
        "import sys, pathlib\nfrom pipeline.execution.run_lock import hold_run\n"
        "with hold_run(pathlib.Path(sys.argv[1]), 'run-1'):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "run-1")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(UserError, match=r"Another one is running run-1\. Wait until it has ended"),
            hold_run(tmp_path / "run-1", "run-1"),
        ):
            pass
        other.kill()
        other.wait()
    with hold_run(tmp_path / "run-1", "run-1"):
        pass
