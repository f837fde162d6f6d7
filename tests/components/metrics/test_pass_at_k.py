"""Programs that a model has written: what passes, and what they cannot do."""

import contextlib
import gzip
import json
import os
import socket
import sys
import time
from pathlib import Path

import pytest

from components.errors import UserError
from components.metrics import sandbox, sandbox_child
from components.metrics.metric import Prediction
from components.metrics.table import find_option_problems

LIMITS = {"seconds": 5, "memory_mib": 256}
OPTIONS = {"column": "program", "allow_code_execution": True}


pytestmark = pytest.mark.skipif(sandbox.find_problem() is not None, reason="this machine allows no name spaces")


@pytest.mark.parametrize(
    ("program", "passes"),
    [
        ("assert 1 + 1 == 2", True),
        ("assert 1 + 1 == 3", False),
        ("def f(:", False),
        ("raise SystemExit(0)", False),
        ("import os; os._exit(0)", False),
        ("print('0' * 64)", True),
        ("text = '\u00e9\ud800'".encode("utf-8", "replace").decode(), True),
        ("x = bytearray(2**30)", False),
        ("open('here', 'w').write('x'); assert open('here').read() == 'x'", True),
        ("open('here', 'w').write('x' * 2**21)", False),
        ("import os; assert not set(os.environ) - {'LC_CTYPE'}", True),
        ("import os\nfor _ in range(50): os.fork()", False),
        ("while True: print('x' * 2**16)", False),
    ],
)
def test_program(program, passes):
    assert sandbox.run_program(program, **LIMITS) is passes


def test_program_that_does_not_end():
    assert not sandbox.run_program("while True: pass", seconds=1, memory_mib=256)


def test_program_can_write_nothing_outside(tmp_path):
    place = tmp_path / "mine"
    place.write_text("kept")
    for program in (f"open({str(place)!r}, 'w')", f"import os; os.remove({str(place)!r})"):
        assert not sandbox.run_program(program, **LIMITS)
    assert place.read_text() == "kept"
    assert sandbox.run_program(f"open({str(place)!r}).read()", **LIMITS)


def test_program_cannot_make_files_writable_again(tmp_path):
    unshare = "library.unshare(0x10000000 | 0x20000)"
    for first in ("0", unshare):
        program = f"import ctypes; library = ctypes.CDLL(None); {first}; assert library.mount(None, b'/', None, 0x1020, None) == 0"
        assert not sandbox.run_program(program, **LIMITS)
    assert sandbox.run_program(
        "import os; assert 'CapEff:\\t0000000000000000' in open('/proc/self/status').read() and os.getuid() == 1000",
        **LIMITS,
    )


def test_program_has_no_network():
    with socket.create_server(("127.0.0.1", 0)) as server:
        program = f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), timeout=1)"
        assert not sandbox.run_program(program, **LIMITS)


def test_program_has_no_sockets_of_this_machine(tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        assert not sandbox.run_program(f"import socket; socket.socket(socket.AF_UNIX).connect({path!r})", **LIMITS)
    assert sandbox.run_program("import socket; socket.socket(socket.AF_INET)", **LIMITS)


def list_process_names() -> set[str]:
    names = set()
    for path in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):  # it has ended
            names.add(path.read_text().strip())
    return names


def test_program_that_leaves_its_group_is_ended_as_well():
    # Other tests run programs at the same time: this one gives itself a name (PR_SET_NAME).
    name = f"left-{os.getpid()}"
    program = (
        "import os, time, ctypes\nos.setsid()\nlibc = ctypes.CDLL(None)\nlibc.prctl(1, 0)\n"
        f"libc.prctl(15, {name.encode()!r}, 0, 0, 0)\ntime.sleep(77)"
    )
    assert not sandbox.run_program(program, seconds=1, memory_mib=256)
    # The kernel ends what is left of a name space after its first process has been waited for.
    deadline = time.monotonic() + 10
    while name in list_process_names():
        assert time.monotonic() < deadline


def test_program_that_prints_at_its_end_and_one_that_ends_as_if_not_shut_in():
    assert sandbox.run_program("import atexit; atexit.register(print, 'bye')", **LIMITS)
    assert not sandbox.run_program("raise SystemExit(97)", **LIMITS)


def test_what_a_program_starts_ends_with_it(tmp_path):
    marker = f"marker-{tmp_path.name}"
    program = f"import os\nif os.fork() == 0:\n    os.setsid()\n    os.execv({sys.executable!r}, ['{marker}', '-c', 'while True: pass'])"
    assert sandbox.run_program(program, **LIMITS)
    names = [p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if p.exists()]
    assert not any(marker.encode() in name for name in names)


def test_without_name_spaces_nothing_runs(monkeypatch, tmp_path):
    child = tmp_path / "child.py"
    source = Path(sandbox_child.__file__).read_text()
    child.write_text(
        source.replace('call("unshare", _NEW_NAMESPACES)', "raise PermissionError(1, 'unshare: not here')")
    )
    monkeypatch.setattr(sandbox_child, "__file__", str(child))
    with pytest.raises(UserError, match=r"unshare: not here. Nothing was run"):
        sandbox.run_program("", **LIMITS)
    assert "unshare: not here" in sandbox.find_problem()


def test_pass_at_k_of_several_completions(compute):
    program = "def f():\n    return {{completion}}\n\nassert f() == 1"
    predictions = [
        Prediction(completion="1", other_completions=("2", "3", "4"), columns={"program": program}),
        Prediction(completion="2", other_completions=("1", "1", "2"), columns={"program": program}),
        Prediction(completion="1", columns={"program": program}),  # too few for k = 2
    ]
    values = compute("pass_at_k", predictions, k=[1, 2], **OPTIONS)
    # 1 - C(3, 2) / C(4, 2) = 1/2; 1 - C(2, 2) / C(4, 2) = 5/6
    assert values == {
        "pass_at_1": pytest.approx((1 / 4 + 2 / 4 + 1) / 3),
        "pass_at_2": pytest.approx((1 / 2 + 5 / 6) / 2),
    }


def test_program_without_a_place_for_the_completion(compute):
    with pytest.raises(UserError, match="must hold a program with"):
        compute("pass_at_k", [Prediction(completion="1", columns={"program": ""})], **OPTIONS)


def test_options_are_checked():
    assert (
        "runs programs that a model has written"
        in find_option_problems("pass_at_k", {"column": "p"})["allow_code_execution"]
    )
    found = find_option_problems("pass_at_k", {**OPTIONS, "k": [0], "seconds": 0})
    assert "k" in found
    assert "seconds" in found


def test_humanevals_own_solutions_pass(compute):
    path = Path(__file__).resolve().parents[4] / "shared" / "data" / "humaneval" / "HumanEval.jsonl.gz"
    if not path.is_file():
        pytest.skip("real data are not here: HumanEval.jsonl.gz")
    predictions = []
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        task = json.loads(line)
        program = f"{task['prompt']}{{{{completion}}}}\n\n{task['test']}\n\ncheck({task['entry_point']})\n"
        predictions.append(Prediction(completion=task["canonical_solution"], columns={"program": program}))
    assert len(predictions) == 164
    assert compute("pass_at_k", predictions, **OPTIONS, seconds=20) == {"pass_at_1": 1.0}
    empty = [Prediction(completion="    pass\n", columns=prediction.columns) for prediction in predictions[:40]]
    assert compute("pass_at_k", empty, **OPTIONS) == {"pass_at_1": 0.0}
