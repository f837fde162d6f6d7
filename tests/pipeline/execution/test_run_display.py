import io

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
