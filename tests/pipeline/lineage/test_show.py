"""What words on the command line mean, and what is shown of it."""

import pytest
from rich.console import Console

from components.errors import UserError
from pipeline.lineage import runs_view, show_view
from pipeline.lineage.find import find_subject
from pipeline.lineage.runs import list_runs
from pipeline.lineage.show import show


def render(renderable) -> str:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


@pytest.fixture
def store(many_runs, store_of):
    return store_of(many_runs[0])


def test_a_run_is_shown_with_its_nodes_and_its_model(many_runs, store):
    run_id = many_runs[1][8]
    shown = show(store, run_id)
    assert shown.run is not None and shown.run.id == run_id
    assert [step.node for step in shown.steps] == list(shown.run.nodes)
    states = {step.node: step.state for step in shown.steps}
    assert (states["ExampleGen"], states["Trainer"]) == ("cached", "complete")
    assert shown.trace is not None and shown.trace.artifact.uri == "/srv/runs/artifacts/support-lora/Trainer/model/8"
    text = render(show_view.render(shown))
    for word in (run_id, "cached", "complete", "Evaluator", "rows-0000.jsonl", "The model that it trained"):
        assert word in text


def test_a_run_without_a_model_is_shown_too(new_runs, store_of, tmp_path):
    new_runs.record_run(0)
    run_id = new_runs.record_run(4, "failed")
    shown = show(store_of(tmp_path), run_id)
    assert shown.trace is None and shown.run.state == "failed"
    assert "out of memory" in render(show_view.render(shown))


def test_any_artifact_is_followed_back(store):
    graph = show(store, "/srv/runs/artifacts/legal-lora/Transform/transformgraph/2")
    assert graph.trace is not None
    assert [step.node for step in graph.trace.steps] == ["Transform", "Tokenizer", "TokenizedSchema", "ExampleGen"]
    assert [data.path for data in graph.trace.data] == ["data/legal-lora/rows-0000.jsonl"]
    number = str(graph.trace.artifact.id)
    assert show(store, number) == show(store, f"artifact:{number}") == graph
    assert "TransformGraph" in render(show_view.render(graph))


def test_without_words_the_model_that_was_pushed_last(store):
    pushed = [run for run in list_runs(store, None) if run.pushed]
    assert show(store, None).trace.pushed.properties["pushed_destination"] == pushed[0].pushed
    of_one = [run for run in pushed if run.pipeline_name == "support-full"]
    assert show(store, None, "support-full").trace.run.id == of_one[0].id


@pytest.mark.parametrize(
    ("text", "reason", "count"),
    [
        ("data/chat-qlora/rows-0001.jsonl", "a data file", 1),
        ("data/base/tiny_gpt2_en", "a preset or reference model", None),
        ("555555", "the property base_hash", None),
        ("2222222222", "the property preset_hash", None),
        ("/srv/runs/serving/support-lora/0/assets/vocab.json", "a place that a run wrote", 1),
    ],
)
def test_words_that_mean_artifacts(store, text, reason, count):
    subject = find_subject(store, text)
    assert subject.reason == reason and subject.artifacts and not subject.runs
    assert count is None or len(subject.artifacts) == count


def test_a_commit_means_the_runs_that_had_it(many_runs, store):
    newest = list_runs(store, 1)[0]
    subject = find_subject(store, newest.code_version[:7])
    assert [context.name for context in subject.runs] == many_runs[1][:39:-1]


@pytest.mark.parametrize("text", ["", "nix", "abcdef0123", "99999999", 'it\'s "quoted" \\', "/", "\x00", "é" * 300])
def test_what_the_store_does_not_know(store, text):
    with pytest.raises(UserError, match="The metadata store knows no"):
        find_subject(store, text)


def test_the_table_of_runs(many_runs, store):
    text = render(runs_view.render(list_runs(store, 5), is_cut=True))
    assert "5 runs, the newest" in text and "perplexity" in text
    # As narrow as a terminal may be, no row takes two lines.
    assert len(text.splitlines()) == 1 + 5 + 2
    assert "no such run" in render(runs_view.render([]))
