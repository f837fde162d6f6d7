import os
import select

import pytest

from components.console_line import CONSOLE_FD_VARIABLE, open_console_stream
from components.trainer.engine import StepResult
from components.trainer.progress import ConsoleProgress
from components.trainer.state import TrainState


def drive(progress):
    state = TrainState(eval_loss=4.0)
    progress.on_evaluation(state)
    for step in range(1, 5):
        state.step, state.tokens_seen, state.target_tokens_seen = step, step * 1000, step * 400
        progress.on_step(state, StepResult(3.0 - step / 10, 1.0), 1e-3)
    state.eval_loss = 2.5
    progress.on_evaluation(state)
    progress.close()


@pytest.fixture
def clock():
    ticks = iter(range(100))
    return lambda: next(ticks)


def test_plain_lines_at_each_evaluation_on_the_runners_console(tmp_path, monkeypatch, clock):
    with (tmp_path / "console").open("w+", newline="") as console:
        monkeypatch.setenv(CONSOLE_FD_VARIABLE, str(console.fileno()))
        drive(ConsoleProgress(4, clock=clock))
        console.seek(0)  # still open: the stream had its own descriptor
        shown = console.read()
    lines = [line.rpartition("\r")[2] for line in shown.split("\n")[:-1]]
    assert "train 1/4  loss 2.9000  eval_loss 4.0000\r" in shown  # what a runner shows until the next one
    assert lines == [
        "train 0/4  eval_loss 4.0000",
        "train 4/4  loss 2.6000  eval_loss 2.5000  1,000 tokens/s (400 target)",
    ]


@pytest.mark.parametrize("value", [None, "", "none", "9999"])
def test_without_a_usable_descriptor_it_is_stderr(monkeypatch, capsys, clock, value):
    monkeypatch.delenv(CONSOLE_FD_VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(CONSOLE_FD_VARIABLE, value)
    drive(ConsoleProgress(4, clock=clock))
    shown = capsys.readouterr().err
    assert "train 4/4" in shown
    assert ("\r" in shown) == (value is not None)


def test_live_on_a_terminal(monkeypatch, clock):
    primary, replica = os.openpty()
    monkeypatch.setenv(CONSOLE_FD_VARIABLE, str(replica))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    assert open_console_stream().isatty()
    drive(ConsoleProgress(4, clock=clock))
    shown = ""
    while select.select([primary], [], [], 0.2)[0]:
        shown += os.read(primary, 65536).decode()
    assert "\x1b[2Ktrain 1/4" in shown
    assert shown.endswith("\x1b[2Ktrain 4/4  loss 2.6000  eval_loss 2.5000  1,000 tokens/s (400 target)\r\n")
    os.close(primary)
    os.close(replica)
