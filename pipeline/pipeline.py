"""The pipeline: which component follows which. Wiring only; what differs between platforms comes in as arguments."""

import os
from pathlib import Path
from typing import Any

from ml_metadata.proto import metadata_store_pb2
from tfx.components import SchemaGen, StatisticsGen
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import pusher_pb2
from tfx.types.channel import BaseChannel

from components.evaluator.component import Evaluator
from components.example_gen.component import InstructionExampleGen
from components.example_validator.component import ExampleValidator
from components.metrics.table import make_metrics
from components.predictor.component import Predictor
from components.preset_importer.component import PresetImporter
from components.pusher.component import Pusher
from components.schema_importer.component import SchemaImporter
from components.tokenizer.component import Tokenizer
from configs.schema import RunConfig
from pipeline.code_hash import hash_code, hash_preset
from pipeline.paths import PIPELINE_ROOT, PUSH_DESTINATION, Places
from pipeline.platforms import LOCAL, Platform
from pipeline.training_nodes import make_training_nodes


def create_pipeline(
    config: RunConfig,
    *,
    places: Places,
    metadata_connection_config: metadata_store_pb2.ConnectionConfig | None = None,
    beam_pipeline_args: list[str] | None = None,
    platform: Platform = LOCAL,
) -> Pipeline:
    """Returns the pipeline of a run.

    Each node receives its own sections of the configuration only, since parameters are part of its cache key: a changed
    learning rate runs the Trainer and what follows, nothing before it.

    Args:
        config: The run.
        places: Where the nodes write.
        metadata_connection_config: The metadata store; None where the platform has its own.
        beam_pipeline_args: Options of Apache Beam.
        platform: What the nodes must know of where they run.
    """
    model, text = config.model.model_dump(mode="json"), config.text.model_dump(mode="json")
    generation = config.generation.model_dump(mode="json")
    preset_hash, tokenizer_hash = hash_preset(config.model.preset)

    example_gen = InstructionExampleGen(
        path=platform.parameters.get("data.path") or platform.locate(config.data.path),
        data_config={
            **config.data.model_dump(mode="json", exclude={"path", "schema_path"}),
            **({} if platform.keeps_failed_outputs else {"quarantine_dir": places.quarantine}),
            **(
                {"default_system": config.text.system}
                if config.data.columns.messages or config.data.columns.system
                else {}
            ),
        },
        code_hash=hash_code("components.example_gen.executor"),
    ).with_id("ExampleGen")
    statistics_gen = StatisticsGen(examples=example_gen.outputs["examples"])
    if config.data.schema_path is None:
        schema_gen = SchemaGen(statistics=statistics_gen.outputs["statistics"], infer_feature_shape=True)
    else:
        schema_path = config.data.schema_path
        schema_gen = SchemaImporter(Path(schema_path), platform.locate(schema_path)).with_id("SchemaGen")
    example_validator = ExampleValidator(
        statistics=statistics_gen.outputs["statistics"],
        schema=schema_gen.outputs["schema"],
        code_hash=hash_code("components.example_validator.component"),
    )

    tokenizer = Tokenizer(
        examples=example_gen.outputs["examples"],
        text=text,
        preset=config.model.preset,
        preset_hash=tokenizer_hash,
        code_hash=hash_code("components.tokenizer.executor"),
    )
    # Data that does not match its schema goes no further.
    tokenizer.add_upstream_node(example_validator)
    tokenized = tokenizer.outputs["tokenized_examples"]
    training = make_training_nodes(config, tokenized, places, platform)
    trainer = training[-1]
    preset_importer = PresetImporter(
        model=model,
        text=text,
        generation=generation,
        preset_hash=preset_hash,
        code_hash=hash_code("components.preset_importer.executor"),
    )
    baseline_resolver = platform.find_baseline(trainer.outputs["model"]).with_id("BaselineResolver")
    evaluation = config.evaluation.model_dump(mode="json")
    metrics = make_metrics(evaluation["metrics"]).values()
    # A preset that was replaced in its folder is another judge, or encoder.
    metric_presets = [hash_preset(preset)[0] for metric in metrics if (preset := getattr(metric, "preset", None))]
    evaluation |= {
        "judge_cache": os.path.join(places.judgements, *(found[:16] for found in metric_presets if found)),
        "metric_presets": metric_presets,
    }
    prediction = {
        "split": config.evaluation.split,
        "batch_size": config.evaluation.batch_size,
        "complete": any(metric.reads_completion for metric in metrics),
        "choices": next((choices for metric in metrics if (choices := metric.needed_choices())), None),
    }
    predictors = {
        name: Predictor(
            examples=tokenized,
            model=of,
            like=preset_importer.outputs["model"] if name == "Baseline" else None,
            prediction=prediction,
            code_hash=hash_code("components.predictor.executor"),
        ).with_id(f"{name}Predictor")
        for name, of in (
            ("Candidate", trainer.outputs["model"]),
            ("Preset", preset_importer.outputs["model"]),
            ("Baseline", baseline_resolver.outputs["model"]),
        )
    }
    general = _make_general_nodes(config, places, platform, trainer.outputs["model"], preset_importer.outputs["model"])
    evaluator = Evaluator(
        predictions=predictors["Candidate"].outputs["predictions"],
        preset_predictions=predictors["Preset"].outputs["predictions"],
        baseline_predictions=predictors["Baseline"].outputs["predictions"],
        model=trainer.outputs["model"],
        preset_model=preset_importer.outputs["model"],
        baseline_model=baseline_resolver.outputs["model"],
        evaluation=evaluation,
        code_hash=hash_code("components.evaluator.executor"),
        general_predictions=general[-2].outputs["predictions"] if general else None,
        general_preset_predictions=general[-1].outputs["predictions"] if general else None,
        root=platform.parameters.get(PIPELINE_ROOT),
    )
    pusher = Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination=platform.parameters.get(PUSH_DESTINATION)
        or pusher_pb2.PushDestination(filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=places.serving)),
    )
    components: list[Any] = [
        example_gen,
        statistics_gen,
        schema_gen,
        example_validator,
        tokenizer,
        *training,
        preset_importer,
        baseline_resolver,
        *predictors.values(),
        *general,
        evaluator,
        pusher,
        *platform.make_more_pushers(trainer.outputs["model"], evaluator.outputs["blessing"]),
    ]
    return Pipeline(
        pipeline_name=config.pipeline.name,
        pipeline_root=places.artifacts,
        components=components,
        metadata_connection_config=metadata_connection_config,
        beam_pipeline_args=beam_pipeline_args or [],
        enable_cache=True,
    )


def _make_general_nodes(
    config: RunConfig, places: Places, platform: Platform, candidate: BaseChannel, preset: BaseChannel
) -> list[Any]:
    """Returns the nodes that read and predict `evaluation.general`; the last two are those of candidate and preset."""
    section = config.evaluation.general
    if section is None:
        return []
    example_gen = InstructionExampleGen(
        path=platform.locate(section.path),
        data_config={
            **section.model_dump(mode="json", include={"format", "columns", "max_bad_fraction"}),
            "splits": {"train": 0.0, "eval": 0.0, "test": 1.0},
            "section": "evaluation.general",
            **({} if platform.keeps_failed_outputs else {"quarantine_dir": places.quarantine}),
        },
        code_hash=hash_code("components.example_gen.executor"),
    ).with_id("GeneralExampleGen")
    text = config.text.model_dump(mode="json") | {"max_truncated_fraction": 1.0}
    if section.columns.text:
        text |= {"template": "text", "system": ""}
    tokenizer = Tokenizer(
        examples=example_gen.outputs["examples"],
        text=text,
        preset=config.model.preset,
        preset_hash=hash_preset(config.model.preset)[1],
        code_hash=hash_code("components.tokenizer.executor"),
    ).with_id("GeneralTokenizer")
    predictors = [
        Predictor(
            examples=tokenizer.outputs["tokenized_examples"],
            model=model,
            prediction={
                "split": "test",
                "batch_size": config.evaluation.batch_size,
                "complete": False,
                "choices": None,
            },
            code_hash=hash_code("components.predictor.executor"),
        ).with_id(f"General{name}Predictor")
        for name, model in (("Candidate", candidate), ("Preset", preset))
    ]
    return [example_gen, tokenizer, *predictors]
