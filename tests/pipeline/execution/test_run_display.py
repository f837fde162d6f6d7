import io
import sys

from rich.console import Console

from pipeline.execution.run_display import RunDisplay


def test_lines_that_stay_and_lines_that_are_overwritten():
    stream = io.StringIO()
    display = RunDisplay(Console(file=stream, width=100))
    with display.live():
        line = display.start("Trainer")
        line.write(b"train 1/4  loss 3.0\rtrain 2/4  lo")
        line.write(b"ss 2.9\rtrain 2/4  eval_loss 2.5\n")
        line.write("half a line of [red]ü".encode())
        seconds = line.end("[green]✓[/]", "cached")
    assert stream.getvalue().splitlines() == [
        "  Trainer: train 2/4  eval_loss 2.5",
        f"✓ Trainer              {seconds:7.1f} s  cached",
    ]


def test_a_note_is_only_text():
    """Names of columns stand there."""
    stream = io.StringIO()
    line = RunDisplay(Console(file=stream, width=100)).start("ExampleGen")
    line.end("[green]✓[/]", "columns that are not used: [/x], [red]y")
    assert stream.getvalue().endswith(" s  columns that are not used: [/x], [red]y\n")


def test_on_a_terminal_the_running_node_has_a_bar():
    stream = io.StringIO()
    display = RunDisplay(Console(file=stream, width=100, force_terminal=True))
    with display.live():
        line = display.start("Trainer")
        line.write(b"train 1/4  loss 3.0 [x]\r")
        (task,) = display._progress.tasks
        assert (task.completed, task.total) == (1, 4)
        assert task.fields["text"] == "train 1/4  loss 3.0 [x]"
        line.end("✓")
        assert not display._progress.tasks
    assert "Trainer" in stream.getvalue()


def test_on_a_terminal_notes_stay_steps_do_not_and_libraries_are_not_heard(capsys):
    stream = io.StringIO()
    display = RunDisplay(Console(file=stream, width=200, force_terminal=True, highlight=False))
    with display.live():
        line = display.start("Trainer")
        print("a library", file=sys.stderr)
        line.write(b"Not taken from the cache: \x1b[2Jx\n")
        line.write(b"train 1/4  eval_loss 3.0\n")
        line.end("✓")
    shown = stream.getvalue()
    assert "  Trainer: Not taken from the cache: <U+001B>[2Jx\n" in shown
    assert "  Trainer: train 1/4" not in shown
    assert "a library" not in shown
    assert capsys.readouterr().err == "a library\n"


def test_in_a_file_a_long_training_says_every_minute_how_far_it_is():
    stream, now = io.StringIO(), [0.0]
    display = RunDisplay(Console(file=stream, width=100), clock=lambda: now[0])
    line = display.start("Trainer")
    for step in range(1, 7):
        now[0] += 25
        line.write(f"train {step}/6  loss 3.0\r".encode())
        if step == 3:
            line.write(b"train 3/6  eval_loss 2.5\n")
    assert stream.getvalue().splitlines() == [
        "  Trainer: train 3/6  loss 3.0",
        "  Trainer: train 3/6  eval_loss 2.5",
        "  Trainer: train 6/6  loss 3.0",
    ]
