"""The command line without a run: help, validation, errors and their exit codes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from pipeline import exit_codes
from pipeline.cli import main

ROOT = Path(__file__).resolve().parents[2]
RUN = "configs/runs/tiny_gpt2_en_lora.yaml"
PRESET = "data/base/tiny_gpt2_en"


@pytest.fixture
def call(monkeypatch):
    monkeypatch.chdir(ROOT)
    return lambda *arguments, **options: CliRunner().invoke(main, arguments, **options)


@pytest.mark.parametrize(
    "command",
    [
        "run",
        "validate",
        "lineage",
        "tokens",
        "report",
        "benchmark",
        "export",
        "generate",
        "compile",
        "submit",
        "schedule",
        "schedules",
        "run-spec",
    ],
)
def test_help(call, command):
    result = call(command, "--help")
    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["validate", RUN],
        ["lineage", "--help"],
        ["tokens", "--help"],
        ["benchmark", "--help"],
        ["export", "--help"],
        ["schedule", "--help"],
        ["schedules", "list", "--help"],
        ["validate", RUN, "--runner", "vertex", "--image", "registry/name:1"],
    ],
)
def test_what_a_user_waits_for_imports_no_tensorflow(arguments):
    code = (
        "import sys, runpy\n"
        "try: runpy.run_module('pipeline', run_name='__main__')\n"
        "finally: print([m for m in ('tensorflow', 'keras', 'tfx', 'apache_beam', 'pandas', 'kfp', 'google.cloud.aiplatform') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "[]"


def test_validate(call):
    result = call("validate", RUN)
    assert (result.exit_code, result.output) == (0, f"{RUN} is valid.\n")


def test_validate_prints_the_whole_configuration(call):
    import yaml

    result = call("validate", RUN, "--print", "--set", "train.seed=7")
    config = yaml.safe_load(result.output)
    assert config["train"]["seed"] == 7
    assert config["train"]["clip_norm"] == 1.0


def test_validate_for_a_cluster(call):
    arguments = ("validate", RUN, "--runner", "kubeflow", "--image", "registry/name:1")
    assert (call(*arguments).exit_code, call(*arguments).output) == (0, f"{RUN} is valid.\n")
    result = call(*arguments[:-1], "registry/name", "--set", "data.path=/mnt/pipeline/data/new.jsonl")
    assert result.exit_code == 2
    assert [line.split(":")[0].strip() for line in result.stderr.splitlines()[1:]] == ["runner.image"]


@pytest.mark.parametrize("command", ["validate", "run"])
def test_beam_that_does_not_go_with_this_machine_is_told_before_anything_runs(call, command, tmp_path):
    path = tmp_path / "runner.yaml"
    path.write_text("kind: local\nroot: runs\nbeam: {runner: dataflow, options: {machine_typ: n2-standard-4}}\n")
    result = call(command, RUN, "--runner", str(path))
    assert result.exit_code == 2
    assert (
        "beam.options.machine_typ: unknown option of Beam for dataflow. Did you mean `machine_type`?" in result.stderr
    )
    assert "\n  root: must be in a bucket" in result.stderr


@pytest.mark.parametrize("command", ["validate", "run"])
def test_problems_are_listed_with_exit_code_2(call, command):
    result = call(command, RUN, "--set", "method.rnk=3", "--set", "pipeline.name=A B", "--root", "")
    assert result.exit_code == 2
    for part in ("method.rnk", "Did you mean `rank`?", "pipeline.name", "local.yaml has 1 problem", "root"):
        assert part in result.output


@pytest.mark.parametrize("place", ["~/x.html", "$HOME/x.html", "${HOME}/x.html"])
@pytest.mark.parametrize(
    "command",
    [
        ["tokens", "--html"],
        ["report", "--html"],
        ["receipt", "--html"],
        ["export", "--format", "hf", "--output"],
        ["lineage", "graph", "--output"],
        ["lineage", "export", "--format", "openlineage", "--output"],
        ["compile", RUN, "--runner", "kubeflow", "--output"],
    ],
)
def test_no_folder_is_made_that_only_a_shell_knows(call, command, place):
    result = call(*command, place)
    assert (result.exit_code, "must be a path without" in result.output) == (2, True)


def test_prompts_are_lines_whatever_else_ends_lines_elsewhere(call, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("components.runtime.load_tensorflow_silently", lambda: None)
    monkeypatch.setattr("pipeline.serving.load_model", lambda folder: SimpleNamespace(signatures={"serving_default"}))
    monkeypatch.setattr("pipeline.serving.generate", lambda model, texts, signature: asked.extend(texts) or texts)
    result = call("generate", "--model", str(tmp_path), input="a\x0cb\u2028c\u0085d\r\n\ne\n")
    assert (result.exit_code, asked) == (0, ["a\x0cb\u2028c\u0085d", "", "e"])


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_streams_may_be_closed(closed, tmp_path):
    """As some daemons start programs."""
    command = " ".join(f"{number}{'<' if number == 0 else '>'}&-" for number in closed)
    script = f'"$0" -m pipeline validate "$1" {command}'
    done = subprocess.run(["sh", "-c", script, sys.executable, RUN], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [["validate", RUN], ["lineage", "show"]])
def test_an_interrupted_command_has_its_own_exit_code(call, monkeypatch, arguments):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("configs.load.load_runner", interrupt)
    result = call(*arguments)
    assert (result.exit_code, result.output) == (exit_codes.INTERRUPTED, "Interrupted.\n")


@pytest.mark.parametrize("arguments", [["validate", "nowhere.yaml"], ["validate", RUN, "--runner", "moon"]])
def test_missing_files(call, arguments):
    result = call(*arguments)
    assert result.exit_code == 2
    assert "no such file" in result.output


def test_lineage_without_a_store(call, tmp_path):
    result = call("lineage", "show", "--root", str(tmp_path))
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert str(tmp_path) in result.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["generate", "hi"], 1, "run one first"),
        (["generate", "hi", "--pipeline", "x"], 1, "must have been pushed"),
        (["generate", "hi", "--model", "."], 1, "saved_model.pb"),
        (["generate", "hi", "--model", ".", "--pipeline", "x"], 2, "not both"),
        (["generate"], 2, "needs a prompt"),
    ],
)
def test_generate_without_a_model(call, tmp_path, arguments, code, part):
    result = call(*arguments, "--root", str(tmp_path), input="")
    assert result.exit_code == code
    assert part in result.output


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["x"], 2, "Missing option '--format'"),
        (["x", "--format", "gguf"], 2, "'gguf' is not one of 'hf', 'keras', 'savedmodel'"),
        (["x", "--format", "hf", "--pipeline", "y"], 2, "leave out the argument, or --pipeline"),
        (["x", "--format", "hf"], 1, "metadata"),
        ([PRESET, "--format", "hf", "--output", PRESET], 1, "which holds something"),
        ([PRESET, "--format", "savedmodel", "--dtype", "bfloat16"], 1, "--dtype is for `hf` and `keras`"),
    ],
)
def test_exports_that_cannot_be(call, tmp_path, arguments, code, part):
    result = call("export", *arguments, "--root", str(tmp_path))
    assert (result.exit_code, "Traceback" in result.output) == (code, False)
    assert part in result.output


def test_the_mysql_password_comes_from_the_environment(call, tmp_path, monkeypatch):
    runner = tmp_path / "runner.yaml"
    metadata = {
        "kind": "mysql",
        "host": "127.0.0.1",
        "port": 1,
        "database": "d",
        "user": "u",
        "password_env": "SECRET_X",
    }
    runner.write_text(json.dumps({"kind": "local", "root": str(tmp_path), "metadata": metadata}))
    monkeypatch.delenv("SECRET_X", raising=False)
    result = call("lineage", "show", "--runner", str(runner))
    assert result.exit_code == 1
    assert "SECRET_X" in result.output
    monkeypatch.setitem(os.environ, "SECRET_X", "hunter2")
    result = call("lineage", "show", "--runner", str(runner))
    assert result.exit_code == 1
    assert "hunter2" not in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--suite", "mmul"], "--suite must be one of gsm8k, mmlu, .* Did you mean `mmlu`"),
        (["--sampler", "top_p,p=2,k=1"], "--sampler k: unknown option of `top_p`"),
        (["--sampler", "top_p,p=2"], "--sampler p: must be a number above 0 and at most 1"),
        (["--data", "nowhere"], "must be a file or a folder with files that end in .jsonl"),
        (["--shots", "2"], "--shots needs --shots-from"),
        (["--suite", "humaneval"], "Give --allow-code-execution"),
        (["--suite", "bbq", "--max-new-tokens", "2"], "bbq has choices"),
        (["--samples", "2"], "--samples is for pass@k"),
        (["--suite", "humaneval", "--samples", "2", "--allow-code-execution", ""], "needs a sampler that draws"),
        (["--sampler", "top_k,k=["], "--sampler: must be NAME"),
        (["--model", "no/where"], "--model must be a pushed model's folder or a preset"),
    ],
)
def test_benchmarks_that_cannot_run(call, tmp_path, options, message):
    (tmp_path / "a.jsonl").write_text("{}")
    given = {"--model": "data/base/tiny_gpt2_en", "--suite": "gsm8k", "--data": str(tmp_path / "a.jsonl")}
    given |= dict(zip(options[::2], options[1::2], strict=True))
    words = [word for pair in given.items() for word in pair if word]
    result = call("benchmark", *words, "--root", str(tmp_path / "runs"))
    assert result.exit_code in (1, 2)
    assert re.search(message, result.output), result.output
    assert not (tmp_path / "runs").exists()


def test_run_spec_says_whose_files_it_runs_and_where(call, tmp_path):
    assert "run only files of people you trust" in " ".join(call("run-spec", "--help").output.split())
    spec = tmp_path / "spec.yaml"
    spec.write_text("x")
    result = call("run-spec", str(spec), "--root", f"{tmp_path}/exp [x]")
    assert result.exit_code == 2
    assert "--root must be a folder whose whole path has none of" in result.stderr


def test_a_machine_that_refuses_is_no_traceback(call, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(30, "Read-only file system", f"{tmp_path}/runs")

    monkeypatch.setattr("pipeline.validate.load_config", refuse)
    result = call("validate", RUN)
    assert result.exit_code == 1
    assert result.stderr.startswith(
        f"Error: {tmp_path}/runs could not be written or read: the file system is mounted read-only"
    )
