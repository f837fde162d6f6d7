"""Compiled pipelines on this machine: files, placeholders, resolvers, and a tiny pipeline of real processes."""

import contextlib
import errno
import functools
import json
import threading
from types import SimpleNamespace

import pytest
import yaml
from kfp import compiler, dsl
from rich.console import Console

from components.errors import UserError
from pipeline.specs import file as spec_file
from pipeline.specs import placeholders
from pipeline.specs.artifact_registry import ArtifactRegistry
from pipeline.specs.compiled_spec import CompiledSpec
from pipeline.specs.parameters import replace_root
from pipeline.specs.runner import TaskFailedError, run_spec

EXECUTOR_INPUT = {
    "inputs": {
        "parameterValues": {"rate": 0.5, "name": "a b", "id": None},
        "artifacts": {"model": {"artifacts": [{"uri": "/m", "metadata": {"steps": 3}}]}},
    },
    "outputs": {"parameters": {"x": {"outputFile": "/o/x"}}},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain {text}", "plain {text}"),
        ("--rate={{$.inputs.parameters['rate']}}", "--rate=0.5"),
        ("{{$.inputs.parameters['name']}}/{{$.pipeline_job_uuid}}", "a b/run-1"),
        ("{{$.inputs.artifacts['model'].uri}}", "/m"),
        ("{{$.inputs.artifacts['model'].metadata['steps']}}", "3"),
        # kfp's word for it, and ExecutorInput's.
        ("{{$.outputs.parameters['x'].output_file}}", "/o/x"),
        ("{{$.outputs.parameters['x'].outputFile}}", "/o/x"),
        ("{{$.outputs.parameters['x'].file}}", None),
        ("{{$.inputs.parameters['other']}}", None),
        ("{{$}}", json.dumps(EXECUTOR_INPUT)),
    ],
)
def test_placeholders(text, expected):
    job = {"pipeline_job_uuid": "run-1"}
    if expected is None:
        with pytest.raises(UserError, match="leads nowhere"):
            placeholders.fill(text, EXECUTOR_INPUT, job)
    else:
        assert placeholders.fill(text, EXECUTOR_INPUT, job) == expected


def make_row(name, **metadata):
    return {"name": name, "title": "tfx.Model", "uri": f"/{name}", "metadata": metadata, "state": "LIVE"}


def test_a_resolver_finds_the_newest_that_fits(tmp_path):
    path = tmp_path / "root" / "artifacts.json"
    registry = ArtifactRegistry(path)
    registry.add([make_row("a", blessed=1.0), make_row("b", blessed=1), make_row("c", blessed=0.0)])
    again = ArtifactRegistry(path)
    condition = 'schema_title="tfx.Model" AND state=LIVE AND metadata.blessed.number_value=1'
    assert [row["name"] for row in again.query(condition)] == ["b"]
    assert [row["name"] for row in again.query('name="a"')] == ["a"]
    assert again.query('name="z"') == []
    assert again.query("metadata.other.number_value=1") == []
    with pytest.raises(UserError, match="equalities"):
        again.query("name LIKE a")
    with pytest.raises(UserError, match="'create_time'"):
        again.query("create_time=1")


def test_runs_of_one_root_lose_no_artifact_of_each_other(tmp_path):
    path = tmp_path / "artifacts.json"
    first, second = ArtifactRegistry(path), ArtifactRegistry(path)
    first.add([make_row("a")])
    second.add([make_row("b")])
    first.add([make_row("c")])
    names = [f"{number}" for number in range(20)]
    threads = [
        threading.Thread(target=ArtifactRegistry(path).add, args=([make_row(name)],), daemon=True) for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [row["name"] for row in second.rows]
    assert found[:3] == ["a", "b", "c"]
    assert sorted(found[3:]) == sorted(names)


@pytest.mark.parametrize(
    "content",
    [b"[", b"{}", b"[1]", b"[{}]", b"\xff", b'[{"name": "", "title": "", "uri": "", "metadata": 5, "state": ""}]'],
)
def test_damaged_artifacts_are_told(tmp_path, content):
    path = tmp_path / "artifacts.json"
    path.write_bytes(content)
    registry = ArtifactRegistry(path)
    for ask in (lambda: registry.query('name="a"'), lambda: registry.add([make_row("a")])):
        with pytest.raises(UserError, match="must hold the artifacts of earlier runs"):
            ask()
    assert path.read_bytes() == content


def test_parameters_of_an_earlier_spec_are_never_beside_a_new_one(tmp_path, monkeypatch):
    path, beside = tmp_path / "a.yaml", tmp_path / "a.parameters.yaml"
    text = "root: {}\ndeploymentSpec: {}\nschemaVersion: 2.1.0\n"
    spec_file.write_spec(CompiledSpec(pipeline_name="p", text=text, parameters={"a": 1}), path)
    assert spec_file.read_spec(path).parameters == {"a": 1}

    new = CompiledSpec(pipeline_name="p", text=text + "new: 1\n", parameters={"a": 2})
    whole_file = spec_file.whole_file

    @contextlib.contextmanager
    def fill(target):
        with whole_file(target) as stream:
            yield stream
            if target == beside:
                raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(spec_file, "whole_file", fill)
    with pytest.raises(OSError, match="No space"):
        spec_file.write_spec(new, path)
    assert ("new" in path.read_text(), beside.exists()) == (True, False)

    @contextlib.contextmanager
    def fail(target):
        with whole_file(target):
            yield SimpleNamespace(write=fill_up)

    def fill_up(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.undo()
    spec_file.write_spec(CompiledSpec(pipeline_name="p", text=text, parameters={"a": 1}), path)
    monkeypatch.setattr(spec_file, "whole_file", fail)
    with pytest.raises(OSError, match="No space"):
        spec_file.write_spec(new, path)
    assert "new" not in path.read_text()
    assert spec_file.read_spec(path).parameters == {"a": 1}
    for content in (b"a: [", b"\xff", b"[1]", b"a: 2026-13-45", b"1: x"):
        beside.write_bytes(content)
        with pytest.raises(UserError, match=r"(?s)a\.parameters\.yaml must .*`compile` writes it again"):
            spec_file.read_spec(path)


def make_spec(script, parameters=None):
    """Two tasks: `first` writes a file and reports it, `second` runs `script` on it."""
    artifact = {"artifactType": {"schemaTitle": "system.Artifact", "schemaVersion": "0.0.1"}}
    report = (
        "import json, pathlib, sys; e = json.loads(sys.argv[1]); a = e['outputs']['artifacts']['text']['artifacts'][0]; "
        "pathlib.Path(a['uri']).write_text(e['inputs']['parameterValues']['word']); "
        "pathlib.Path(e['outputs']['outputFile']).write_text(json.dumps({'artifacts': {'text': {'artifacts': "
        "[{'name': a['name'], 'uri': a['uri'], 'metadata': {'length': 5}}]}}}))"
    )
    return {
        "schemaVersion": "2.1.0",
        "pipelineInfo": {"name": "tiny"},
        "root": {
            "inputDefinitions": {"parameters": parameters or {"word": {"parameterType": "STRING"}}},
            "dag": {
                "tasks": {
                    "first": {
                        "componentRef": {"name": "comp-first"},
                        "inputs": {"parameters": {"word": {"componentInputParameter": "word"}}},
                    },
                    "second": {
                        "componentRef": {"name": "comp-second"},
                        "inputs": {
                            "artifacts": {
                                "text": {"taskOutputArtifact": {"producerTask": "first", "outputArtifactKey": "text"}}
                            }
                        },
                    },
                }
            },
        },
        "components": {
            "comp-first": {"executorLabel": "exec-first", "outputDefinitions": {"artifacts": {"text": artifact}}},
            "comp-second": {"executorLabel": "exec-second", "inputDefinitions": {"artifacts": {"text": artifact}}},
        },
        "deploymentSpec": {
            "executors": {
                "exec-first": {"container": {"image": "i:1", "command": ["python", "-c", report], "args": ["{{$}}"]}},
                "exec-second": {
                    "container": {
                        "image": "i:1",
                        "command": ["python", "-c", script],
                        "args": ["{{$.inputs.artifacts['text'].uri}}"],
                    }
                },
            }
        },
    }


@pytest.fixture
def run(tmp_path):
    def start(spec, **parameters):
        with (tmp_path / "console").open("w") as console:
            return run_spec(spec, parameters, tmp_path, "run-1", 2, Console(file=console))

    return start


def test_tasks_are_processes_that_share_files_alone(run, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_LAUNCHER", "x")
    script = (
        "import os, pathlib, sys; "
        "print(pathlib.Path(sys.argv[1]).read_text(), os.environ.get('SECRET_OF_THE_LAUNCHER'), os.environ['KERAS_BACKEND'])"
    )
    result = run(make_spec(script), word="ho ho")
    (text,) = result.outputs["first"]["text"]
    assert text == {
        "name": "runs/run-1/first/text",
        "uri": str(tmp_path / "runs" / "run-1" / "first" / "text"),
        "metadata": {"length": 5},
        "title": "system.Artifact",
        "task": "first",
        "run": "run-1",
        "state": "LIVE",
    }
    assert (tmp_path / "runs" / "run-1" / "second" / "executor.log").read_text() == "ho ho None tensorflow\n"
    assert json.loads((tmp_path / "artifacts.json").read_text()) == [text]


def test_a_task_that_fails_names_its_log_and_last_line(run, tmp_path):
    with pytest.raises(TaskFailedError, match="second: its executor ended with 3.*executor.log\nlast words") as caught:
        run(make_spec("import sys; print('last words'); sys.exit(3)"), word="x")
    assert str(tmp_path / "runs" / "run-1" / "second") in str(caught.value)


@pytest.mark.parametrize(
    ("place", "change", "expected"),
    [
        (("root", "dag", "tasks", "second"), {"parameterIterator": {}}, "second is a loop"),
        (("components", "comp-second"), {"executorLabel": "exec-third"}, "second must have an executor"),
    ],
)
def test_what_cannot_be_run_here_is_said_before_anything_runs(run, tmp_path, place, change, expected):
    spec = make_spec("")
    functools.reduce(dict.__getitem__, place, spec).update(change)
    with pytest.raises(UserError, match=expected):
        run(spec, word="x")
    assert not (tmp_path / "runs").exists()


def compile_conditional(tmp_path):
    """`ask` answers with a text and a number; `use` and, after it, `end` run if the text is yes; `always` runs."""

    @dsl.container_component
    def ask(word: str, answer: dsl.OutputPath(str), length: dsl.OutputPath(int)):
        script = 'printf %s "$0" > $1; printf %s ${#0} > $2'
        return dsl.ContainerSpec(image="i:1", command=["sh", "-c", script], args=[word, answer, length])

    @dsl.container_component
    def tell(word: str, length: int):
        return dsl.ContainerSpec(image="i:1", command=["echo"], args=[word, length])

    @dsl.pipeline(name="conditional")
    def conditional(word: str):
        asked = ask(word=word)
        with dsl.If(asked.outputs["answer"] == "yes"):
            used = tell(word=word, length=asked.outputs["length"]).set_display_name("use")
            told = tell(word=dsl.PIPELINE_JOB_ID_PLACEHOLDER, length=asked.outputs["length"])
            told.after(used).set_display_name("end")
        tell(word="always", length=asked.outputs["length"]).set_display_name("always")

    file = tmp_path / "conditional.yaml"
    compiler.Compiler().compile(conditional, str(file))
    return spec_file.read_spec(file).spec


def test_a_condition_that_is_met(run, tmp_path):
    result = run(compile_conditional(tmp_path), word="yes")
    assert result.skipped == frozenset()
    logs = {
        str(path.parent.relative_to(tmp_path / "runs")): path.read_text() for path in tmp_path.glob("runs/**/*.log")
    }
    assert logs == {
        "run-1/ask": "",
        "run-1/condition-1/tell": "yes 3\n",
        "run-1/condition-1/tell-2": "run-1 3\n",
        "run-1/tell-3": "always 3\n",
    }


def test_a_condition_that_is_not_met_skips_all_that_is_in_it_and_says_so(run, tmp_path):
    result = run(compile_conditional(tmp_path), word="no")
    assert result.skipped == {"condition-1/tell", "condition-1/tell-2"}
    assert sorted(path.name for path in (tmp_path / "runs" / "run-1").iterdir()) == ["ask", "tell-3"]
    shown = {tuple(line.split()[:2]): line.split()[-1] for line in (tmp_path / "console").read_text().splitlines()}
    assert {name: (mark, shown[mark, name]) for mark, name in shown} == {
        "ask": ("✓", "s"),
        "use": ("-", "skipped"),
        "end": ("-", "skipped"),
        "always": ("✓", "s"),
    }


def test_what_waits_for_a_skipped_task_is_skipped_too(run, tmp_path):
    spec = compile_conditional(tmp_path)
    spec["root"]["dag"]["tasks"]["tell-3"]["dependentTasks"] = ["condition-1"]
    assert run(spec, word="no").skipped == {"condition-1/tell", "condition-1/tell-2", "tell-3"}


def test_files(tmp_path):
    path = tmp_path / "new" / "pipeline.yaml"
    spec_file.write_spec(
        CompiledSpec(pipeline_name="tiny", text=yaml.safe_dump(make_spec("")), parameters={"word": "hi"}), path
    )
    assert sorted(p.name for p in path.parent.iterdir()) == ["pipeline.parameters.yaml", "pipeline.yaml"]
    read = spec_file.read_spec(path)
    assert (read.parameters, read.spec["pipelineInfo"]) == ({"word": "hi"}, {"name": "tiny"})


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "no such file"),
        (b"\xff\xfe", "UTF-8"),
        (b"a: [", "YAML"),
        (b"a: 1", "one PipelineSpec"),
        (b"{root: {}, deploymentSpec: {}, schemaVersion: 2.0.0}", "2.1"),
    ],
)
def test_a_file_that_is_no_spec(tmp_path, content, expected):
    path = tmp_path / "spec.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=expected):
        spec_file.read_spec(path)


def test_every_parameter_must_have_a_value_and_exist():
    spec = make_spec(
        "", {"word": {"parameterType": "STRING"}, "rate": {"parameterType": "STRING", "defaultValue": "1"}}
    )
    assert spec_file.fill_parameters(spec, {"word": "x"}) == {"word": "x", "rate": "1"}
    with pytest.raises(UserError, match="word have none"):
        spec_file.fill_parameters(spec, {})
    with pytest.raises(UserError, match="Did you mean `word`"):
        spec_file.fill_parameters(spec, {"word": "x", "wrd": "y"})


def test_all_places_move_to_another_root():
    given = {
        "pipeline_root": "gs://b/r",
        "push_destination": '{"filesystem": {"base_directory": "gs://b/r/serving/p"}}',
        "data_path": "gs://b/r/data.jsonl",
        "train_epochs": "4",
    }
    assert replace_root(given, "/here/") == {
        "pipeline_root": "/here",
        "push_destination": '{"filesystem": {"base_directory": "/here/serving/p"}}',
        "data_path": "gs://b/r/data.jsonl",
        "train_epochs": "4",
    }
