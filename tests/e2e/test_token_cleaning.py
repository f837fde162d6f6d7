"""Token cleaning as a user runs it: all strategies from the YAML, on the built-in base and 400 sample records.

The runs build on each other, as those of test_local_run.py do.
"""

import json
import re
from pathlib import Path

import pytest

PARTS = 2
SAME_LENGTHS = '{"train": {"bucket_boundaries": [64], "learning_rate": 0.005, "batch_size": 16}, "warmup_share": 0.3}'
BEFORE = {"ExampleGen", "StatisticsGen", "SchemaGen", "ExampleValidator", "Tokenizer"}
FOLLOWING = {"Trainer", "BaselineResolver", "CandidatePredictor", "BaselinePredictor", "Evaluator", "Pusher"}


def get_options(strategy, **more):
    settings = {"strategy": strategy, "parts": PARTS, "reference": json.loads(SAME_LENGTHS), **more}
    return ("--set", f"token_cleaning={json.dumps(settings)}")


@pytest.fixture(scope="module")
def self_evolving(project):
    return project.run(*get_options("self_evolving"))


def check_report(run, node, keep=0.6):
    report = run.properties[node, "pipeline.TokenCleaningReport"]
    assert report["kept_share"] == pytest.approx(keep, abs=0.005)
    assert report["num_kept_tokens"] == round(report["kept_share"] * report["num_response_tokens"])
    return report


def test_self_evolving(self_evolving):
    assert self_evolving.exit_code in (0, 3), self_evolving.output
    assert not self_evolving.cached and not self_evolving.failed
    assert self_evolving.executed >= BEFORE | FOLLOWING | {
        "Partitioner",
        "Round0Transform",
        "Round0Trainer",
        "TokenScorer",
        "Transform",
        "CleaningReport",
    }
    report = check_report(self_evolving, "CleaningReport")
    assert (report["strategy"], report["round"]) == ("self_evolving", 1)
    first, last = (self_evolving.properties[node, "Model"] for node in ("Round0Trainer", "Trainer"))
    assert report["reference"] == last["started_from"]
    assert Path(last["started_from"]).is_dir()
    assert first["preset"] == last["preset"] == first["started_from"] == "preset"
    # It begins where the first round has ended.
    assert last["eval_loss_before"] == pytest.approx(first["eval_loss_after"], rel=1e-4)
    assert re.search(r"round 1: kept (60\.[0-4]|59\.[5-9])", " ".join(self_evolving.output.split()))


def test_tokens_and_lineage(project, self_evolving):
    result = project.command("tokens")
    assert result.returncode == 0, result.stderr
    assert "keep 0.6" in result.stdout
    assert "~" in result.stdout
    page = Path(re.search(r"Page: (.*)", result.stdout)[1])
    assert "<svg" in page.read_text(encoding="utf-8")
    shown = json.loads(project.command("tokens", "--json").stdout)
    assert json.dumps(shown).count("example_id") >= 50
    model = self_evolving.properties["Trainer", "Model"]
    trained = sorted((project.folder / "runs/artifacts/e2e/Trainer/model").iterdir(), key=lambda p: int(p.name))[-1]
    trace = json.loads(project.command("lineage", "show", "--json", str(trained)).stdout)["trace"]
    (report,) = trace["token_cleaning"]
    assert report["properties"]["kept_share"] == pytest.approx(0.6, abs=0.005)
    nodes = [step["node"] for step in trace["steps"]]
    assert {"TokenScorer", "Round0Trainer", "Partitioner"} <= set(nodes)
    assert trace["artifact"]["properties"]["steps"] == model["steps"]


@pytest.fixture(scope="module")
def other_share(project, self_evolving):
    return project.run(*get_options("self_evolving", keep=0.8), "--set", "train.learning_rate=0.005")


@pytest.mark.slow
def test_another_share_cuts_again_but_does_not_score_again(self_evolving, other_share):
    assert other_share.executed == {"Transform", "CleaningReport", "Receipt"} | FOLLOWING
    assert {"Partitioner", "Round0Trainer", "TokenScorer"} <= other_share.cached
    check_report(other_share, "CleaningReport", keep=0.8)
    trained = [run.properties["Trainer", "Model"]["target_tokens_seen"] for run in (self_evolving, other_share)]
    assert trained[1] / trained[0] == pytest.approx(0.8 / 0.6, rel=0.05)


@pytest.fixture(scope="module")
def fixed(project, other_share):
    return project.run(*get_options("fixed"))


@pytest.mark.slow
def test_a_reference_that_the_run_trains(project, fixed):
    assert fixed.exit_code in (0, 3), fixed.output
    assert fixed.cached >= BEFORE
    assert {"ReferenceTransform", "ReferenceTrainer", "TokenScorer", "CleaningReport"} <= fixed.executed
    report = check_report(fixed, "CleaningReport")
    assert "/ReferenceTrainer/" in report["reference"]
    assert fixed.properties["Trainer", "Model"]["started_from"] == "preset"
    again = project.run(*get_options("fixed"), "--set", "train.learning_rate=0.004")
    # The baseline may be the same as before; then what it says is cached.
    assert again.executed | {"BaselinePredictor"} == FOLLOWING


@pytest.mark.slow
def test_random_and_a_given_reference(project, self_evolving, fixed):
    random = project.run(*get_options("random"))
    assert random.exit_code in (0, 3), random.output
    check_report(random, "CleaningReport")
    reference = self_evolving.properties["Trainer", "Model"]["started_from"]
    given = project.run(*get_options("fixed", scope="sample", reference={"preset": reference}))
    assert given.exit_code in (0, 3), given.output
    report = check_report(given, "CleaningReport")
    assert report["reference"] == reference
