"""The wiring of each strategy, compiled but not run: which nodes there are, what they read, what their cache keys hold."""

import json
import re
from pathlib import Path

import pytest
import yaml
from tfx.dsl.compiler import compiler
from tfx.utils.import_utils import import_class_by_path

from components.example_gen.settings import read_custom_config
from configs.runner_schema import KubeflowRunnerConfig, VertexRunnerConfig
from pipeline.node_names import RUN_CHECK, list_node_names
from pipeline.paths import make_places
from pipeline.pipeline import create_pipeline
from pipeline.validate import load_config
from pipeline.vertex.compiler import compile_for_vertex

ROOT = Path(__file__).resolve().parents[2]
COMMON_BEFORE = ["ExampleGen", "StatisticsGen", "SchemaGen", "ExampleValidator", "Tokenizer"]
PREDICTORS = ["CandidatePredictor", "PresetPredictor", "BaselinePredictor"]
COMMON_AFTER = ["PresetImporter", "BaselineResolver", *PREDICTORS, "Evaluator", "Pusher"]
TRAIN = ["Transform", "Receipt", "Trainer"]
CUT = ["TokenScorer", "CleaningReport", *TRAIN]


@pytest.fixture
def compile_run(monkeypatch, tmp_path):
    """Returns a function that compiles the default run with overrides; gives its nodes by name, in order."""
    monkeypatch.chdir(ROOT)

    def compile_run(*overrides):
        config = load_config("configs/runs/tiny_gpt2_en_lora.yaml", overrides)
        places = make_places(str(tmp_path), config.pipeline.name)
        compiled = compiler.Compiler().compile(create_pipeline(config, places=places))
        return {node.pipeline_node.node_info.id: node.pipeline_node for node in compiled.nodes}

    return compile_run


def strategy(name):
    return f"token_cleaning.strategy={name}"


def get_parameters(node):
    values = {}
    for name, parameter in node.parameters.parameters.items():
        value = parameter.field_value
        values[name] = getattr(value, value.WhichOneof("value"))
    return values


def list_producers(node, key):
    return {channel.producer_node_query.id for channel in node.inputs.inputs[key].channels}


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([strategy("none")], ["TokenizedSchema", *TRAIN]),
        ([strategy("random")], ["ScoredSchema", *CUT]),
        (
            [strategy("fixed"), "token_cleaning.reference.preset=data/base/tiny_gpt2_en"],
            ["ScoredSchema", *CUT],
        ),
        (
            [strategy("fixed")],
            ["Partitioner", "TokenizedSchema", *(f"Reference{name}" for name in TRAIN), "ScoredSchema", *CUT],
        ),
        (
            [strategy("self_evolving"), "token_cleaning.parts=3"],
            ["Partitioner", "TokenizedSchema", *(f"Round0{name}" for name in TRAIN), "ScoredSchema"]
            + [f"Round1{name}" for name in CUT]
            + CUT,
        ),
    ],
)
def test_nodes(compile_run, overrides, expected):
    assert sorted(compile_run(*overrides)) == sorted([*COMMON_BEFORE, *expected, *COMMON_AFTER])


def test_each_round_is_scored_against_the_newest_model_and_goes_on_from_it(compile_run):
    nodes = compile_run(strategy("self_evolving"), "token_cleaning.parts=3", "train.max_steps=10")
    newest = "Round0Trainer"
    for i, prefix in enumerate(("Round1", ""), start=1):
        scorer, trainer = nodes[f"{prefix}TokenScorer"], nodes[f"{prefix}Trainer"]
        assert list_producers(scorer, "reference_model") == list_producers(trainer, "base_model") == {newest}
        assert list_producers(scorer, "examples") == {"Partitioner"}
        scoring = json.loads(get_parameters(scorer)["scoring"])
        assert scoring["split"] == f"part_{i}"
        assert scoring["base"] == "data/base/tiny_gpt2_en"  # the base stays the untouched preset
        newest = f"{prefix}Trainer"
    assert "base_model" not in nodes["Round0Trainer"].inputs.inputs
    assert '"part_0"' in get_parameters(nodes["Round0Transform"])["splits_config"]
    assert list_producers(nodes["Evaluator"], "model") == {"Trainer"}
    configs = [
        json.loads(get_parameters(nodes[name])["custom_config"])
        for name in ("Round0Trainer", "Round1Trainer", "Trainer")
    ]
    assert [c["train"]["max_steps"] for c in configs] == [3, 3, 4]  # 10 in all
    assert [c["export"] for c in configs] == [False, False, True]


@pytest.mark.parametrize(
    ("before", "override", "changed"),
    [
        ([strategy("fixed")], "token_cleaning.keep=0.7", {"Transform", "CleaningReport"}),
        ([strategy("fixed")], "token_cleaning.scope=sample", {"Transform", "CleaningReport"}),
        ([strategy("fixed")], "train.learning_rate=0.5", {"Trainer"}),
        ([strategy("fixed")], "method.rank=3", {"Trainer"}),
        ([strategy("fixed")], "token_cleaning.reference.train.learning_rate=0.5", {"ReferenceTrainer"}),
        ([strategy("fixed")], "token_cleaning.reference.warmup_share=0.3", {"Partitioner", "CleaningReport"}),
        ([strategy("fixed")], "generation.max_new_tokens=6", {"Trainer", "PresetImporter"}),
        ([strategy("fixed")], "export.formats=[hf]", {"Trainer"}),
        ([strategy("fixed")], "export.formats=[keras, savedmodel]", set()),
        ([strategy("random")], "token_cleaning.seed=4", {"TokenScorer"}),
        ([strategy("random")], "token_cleaning.keep=0.7", {"Transform", "CleaningReport"}),
        ([strategy("none")], "token_cleaning.keep=0.7", set()),
        ([strategy("none")], "receipt.truncated_rows=error", {"Receipt"}),
        ([strategy("fixed")], "receipt.doubled_start_token=off", {"Receipt", "ReferenceReceipt"}),
    ],
)
def test_a_change_is_in_the_cache_keys_of_the_nodes_that_it_concerns_and_no_others(
    compile_run, before, override, changed
):
    first, second = compile_run(*before), compile_run(*before, override)
    assert {name for name in first if get_parameters(first[name]) != get_parameters(second[name])} == changed


@pytest.mark.parametrize("name", ["none", "random", "fixed", "self_evolving"])
def test_every_training_waits_for_the_receipt_of_what_it_reads(compile_run, name):
    nodes = compile_run(strategy(name), "token_cleaning.parts=3")
    trainers = [node_id for node_id in nodes if node_id.endswith("Trainer")]
    assert len(trainers) == {"none": 1, "random": 1, "fixed": 2, "self_evolving": 3}[name]
    for node_id in trainers:
        receipt = nodes[node_id.replace("Trainer", "Receipt")]
        assert receipt.node_info.id in nodes[node_id].upstream_nodes
        assert list_producers(receipt, "examples") == list_producers(nodes[node_id], "examples")
        settings = json.loads(get_parameters(receipt)["settings"])
        assert f'"{settings["train_split"]}"' in get_parameters(nodes[node_id])["train_args"]
        assert settings["copy_folder"].endswith("/receipts/tiny-gpt2-en-lora")


@pytest.mark.parametrize(
    "overrides",
    [
        [strategy("none")],
        [strategy("random")],
        [strategy("fixed")],
        [strategy("fixed"), "token_cleaning.reference.preset=data/base/tiny_gpt2_en"],
        [strategy("self_evolving"), "token_cleaning.parts=2"],
        [strategy("self_evolving"), "token_cleaning.parts=4"],
        ["evaluation.general={path: data/sample/instructions.jsonl}"],
    ],
    ids=" ".join,
)
def test_names_of_nodes_that_are_known_without_tfx(compile_run, overrides):
    config = load_config("configs/runs/tiny_gpt2_en_lora.yaml", overrides)
    runner = KubeflowRunnerConfig(kind="kubeflow", pipeline_root="gs://bucket/x")
    assert sorted(list_node_names(config, runner)) == sorted([RUN_CHECK, *compile_run(*overrides)])


@pytest.mark.parametrize("name", ["none", "random", "fixed", "self_evolving"])
def test_containers_on_vertex(compile_run, name):
    config = load_config("configs/runs/tiny_gpt2_en_lora.yaml", [strategy(name)])
    runner = VertexRunnerConfig.model_validate(
        {
            "kind": "vertex",
            "project": "my-project",
            "region": "us-central1",
            "pipeline_root": "gs://bucket/x",
            "image": "name:1",
            "endpoint": {"name": "my-model"},
        }
    )
    compiled = compile_for_vertex(config, runner)
    spec = yaml.safe_load(compiled["text"])
    # A job is refused if it gives a value that the pipeline does not know; with several rounds `train.max_steps` is none.
    assert compiled["parameters"].keys() == spec["root"]["inputDefinitions"]["parameters"].keys()
    # Each container imports the types of its artifacts by their titles.
    own = {title for title in re.findall(r"title: ([\w.]+)", compiled["text"]) if not title.startswith("tfx.")}
    assert own == {"pipeline.TrainingReceipt"} | ({"pipeline.TokenCleaningReport"} if name != "none" else set())
    for title in own:
        assert title == import_class_by_path(title).TYPE_NAME
    containers = [label for label, each in spec["deploymentSpec"]["executors"].items() if "container" in each]
    assert sorted(list_node_names(config, runner)) == sorted(label.removesuffix("_executor") for label in containers)
    pusher = spec["deploymentSpec"]["executors"]["EndpointPusher_executor"]["container"]
    assert "tfx.extensions.google_cloud_ai_platform.pusher.executor.Executor" in pusher["args"]
    settings = spec["root"]["dag"]["tasks"]["EndpointPusher"]["inputs"]["parameters"]["custom_config"]
    serving = json.loads(settings["runtimeValue"]["constant"])["ai_platform_serving_args"]
    assert (serving["project_id"], serving["endpoint_name"]) == ("my-project", "my-model")


def test_the_split_knows_the_system_text_of_those_that_have_none(compile_run):
    """Where records may have one of their own; else another system text moves no record, and lets no node before the tokenizer run."""
    system, columns = "text.system=Be brief.", 'data.columns={"instruction": "instruction", "output": "output"%s}'
    for more, is_there in ((', "system": "kind"', True), ("", False)):
        nodes = compile_run(system, columns % more, "data.schema_path=null")
        settings = read_custom_config(get_parameters(nodes["ExampleGen"]))["data"]
        assert settings.get("default_system") == ("Be brief." if is_there else None)
