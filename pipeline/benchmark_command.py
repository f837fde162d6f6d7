"""What `benchmark` does: a pipeline of two nodes, the model and the benchmark, and a table of what came of it."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.markup import escape
from rich.table import Table

from components.benchmark.suites.table import SUITES
from components.errors import UserError
from components.metrics import sandbox
from configs.runner_schema import LocalRunnerConfig
from pipeline import local_runner, serving
from pipeline.beam.options import make_beam_args
from pipeline.code_hash import hash_code, hash_folder, hash_preset
from pipeline.console import make_console, redirect_output
from pipeline.execution.child_process import Interrupted, signals_as_exceptions
from pipeline.execution.node_runner import NodeFailedError
from pipeline.execution.run_record import make_run_record
from pipeline.lineage.graph import get_properties
from pipeline.paths import Paths
from pipeline.preset_checks import find_preset_problems
from pipeline.preset_lookup import look_up_preset
from pipeline.run_command import explain_failure

# What the other signatures write, which no benchmark asks, is short.
_NEW_TOKENS = 32


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """What is asked of which model.

    Attributes:
        suite: Name of the benchmark.
        data: Its file or folder.
        shots: Solved examples before each task.
        shots_from: Where they are.
        limit: Most tasks; None for all.
        seed: Of the choice of tasks and of the draws.
        batch_size: Tasks at a time.
        max_new_tokens: Of an answer; None for the benchmark's own.
        samples: Answers to each task.
        resamples: Of the bootstrap.
    """

    suite: str
    data: str
    shots: int = 0
    shots_from: str | None = None
    limit: int | None = None
    seed: int = 0
    batch_size: int = 32
    max_new_tokens: int | None = None
    samples: int = 1
    resamples: int = 1000


def run_benchmark(
    model: str,
    benchmark: Benchmark,
    sampler: dict[str, Any],
    runner: LocalRunnerConfig,
    allow_code: bool = False,
    as_json: bool = False,
) -> int:
    """Runs the benchmark, prints its table or JSON, and returns the exit code.

    Args:
        model: A pushed model's folder, a pipeline's serving folder (its newest), or a preset.
        benchmark: What is asked.
        sampler: As a run's `generation.sampler`; for a preset.
        runner: Where it runs.
        allow_code: Whether programs that the model writes may run.
        as_json: Whether to print JSON.

    Raises:
        UserError: The options do not fit together.
    """
    folder = _check(model, benchmark, sampler, allow_code)
    run_id = local_runner.make_run_id()
    paths = Paths(root=Path(runner.root).resolve(), name=f"benchmark-{benchmark.suite.replace('_', '-')}")
    settings = {"model": model, "sampler": sampler, "benchmark": asdict(benchmark)}
    record = make_run_record(yaml.safe_dump(settings, sort_keys=False), "", paths.name)
    with redirect_output(paths.log(run_id)) as console:
        if as_json:
            console = make_console(stderr=True)
        console.print(f"Benchmark [bold]{benchmark.suite}[/], run {run_id}")
        signals: list[str] = []
        try:
            with signals_as_exceptions() as signals:
                look_up_preset(model, console)
                result = local_runner.run_nodes(
                    create_pipeline,
                    (folder, model, benchmark, sampler, paths, make_beam_args(runner.beam)),
                    paths,
                    runner,
                    record,
                    run_id,
                    console,
                )
        except (NodeFailedError, Interrupted, UserError) as error:
            return explain_failure(error, bool(signals), paths.log(run_id), console, can_resume=False)
        artifact = result.artifact("Benchmark", "evaluation")
        content = (Path(artifact.uri) / "benchmark.json").read_text(encoding="utf-8")
        if not as_json:
            console.print(_make_table(get_properties(artifact)))
            console.print(f"Result: {artifact.uri}/benchmark.json", soft_wrap=True, markup=False)
    if as_json:
        print(content, end="")
    return 0


def _check(model: str, benchmark: Benchmark, sampler: dict[str, Any], allow_code: bool) -> Path | None:
    """Returns the folder of the exported model; None for a preset."""
    suite = SUITES[benchmark.suite]
    suite.list_files(benchmark.data)
    if benchmark.shots and not benchmark.shots_from:
        raise UserError("--shots needs --shots-from, the files whose tasks are shown solved. Received: none.")
    if benchmark.shots_from:
        suite.list_files(benchmark.shots_from)
    if suite.runs_code and not allow_code:
        raise UserError(
            f"{benchmark.suite} runs programs that a model has written: in a process of their own, with limits and "
            "without network, but on this machine. Give --allow-code-execution if that is acceptable here."
        )
    if not suite.max_new_tokens and benchmark.max_new_tokens:
        raise UserError(f"--max-new-tokens is for benchmarks whose answers are written; {benchmark.suite} has choices.")
    if benchmark.samples > 1 and not suite.runs_code:
        raise UserError(f"--samples is for pass@k, which {benchmark.suite} is not measured by. Leave it out.")
    folder = Path(model)
    if (folder / "saved_model.pb").is_file():
        found: Path | None = folder
    elif folder.is_dir() and any(p.name.isascii() and p.name.isdigit() for p in folder.iterdir()):
        found = serving.find_pushed_model(folder)
    elif problems := find_preset_problems(model):
        raise UserError(f"--model must be a pushed model's folder or a preset. {' '.join(problems)} Received: {model}.")
    else:
        found = None
    if found and sampler["name"] != "greedy":
        raise UserError("--sampler is for presets: a pushed model has its own. Leave it out, or name the preset.")
    name = _read_sampler(found) if found else sampler["name"]
    if benchmark.samples > 1 and name not in ("top_k", "top_p"):
        raise UserError(f"--samples needs a sampler that draws: top_k or top_p. Received: {name}.")
    if suite.runs_code and (reason := sandbox.find_problem()):
        raise UserError(reason)
    return found


def _read_sampler(folder: Path) -> str:
    try:
        card = json.loads((folder / "assets.extra" / "model_card.json").read_text(encoding="utf-8"))
        return card["generation"]["sampler"]["name"]
    except (OSError, ValueError, KeyError, TypeError):
        return "greedy"


def create_pipeline(
    folder: Path | None,
    preset: str,
    benchmark: Benchmark,
    sampler: dict[str, Any],
    paths: Paths,
    beam_args: list[str],
) -> Any:
    """Returns the TFX pipeline of a benchmark; to be called in a process that has TFX."""
    from tfx.dsl.components.common.importer import Importer
    from tfx.orchestration.pipeline import Pipeline
    from tfx.types import standard_artifacts

    from components.benchmark.component import Benchmark as Node
    from components.preset_importer.component import PresetImporter

    model: Any
    if folder is None:
        model = PresetImporter(
            model={"preset": preset, "dtype": "float32"},
            text={"template": "plain", "system": "", "max_length": None},
            generation={"max_new_tokens": _NEW_TOKENS, "sampler": sampler, "seed": 0, "stop": []},
            preset_hash=hash_preset(preset)[0],
            code_hash=hash_code("components.preset_importer.executor"),
        ).with_id("Model")
        channel = model.outputs["model"]
    else:
        model = Importer(source_uri=str(folder.resolve()), artifact_type=standard_artifacts.Model).with_id("Model")
        channel = model.outputs["result"]
    suite = SUITES[benchmark.suite]

    def hash_files(path: str) -> str:
        digest = hashlib.sha256()
        for place in suite.list_files(path):
            digest.update(f"{place.name}\0".encode())
            with place.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    files = [str(Path(path).resolve()) for path in (benchmark.data, benchmark.shots_from) if path]
    node = Node(
        model=channel,
        benchmark=asdict(benchmark) | {"data": files[0], "shots_from": files[1] if len(files) > 1 else None},
        # Of the model too, which the store knows by its folder alone.
        data_hash=" ".join([*map(hash_files, files), *([hash_folder(folder)] if folder else [])]),
        code_hash=hash_code("components.benchmark.executor"),
    )
    return Pipeline(
        pipeline_name=paths.name,
        pipeline_root=paths.places.artifacts,
        components=[model, node],
        beam_pipeline_args=beam_args,
        enable_cache=True,
    )


def _make_table(properties: dict[str, Any]) -> Table:
    metrics, intervals = json.loads(properties["metrics"]), json.loads(properties["intervals"])
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("slice", "tasks", "metric", "value", "95 % interval"):
        table.add_column(name, justify="right" if name in ("tasks", "value") else "left")
    for slice_name in sorted(metrics, key=lambda name: (name != "overall", name)):
        values = metrics[slice_name]
        first = True
        for name, value in values.items():
            if name == "example_count":
                continue
            low, high = intervals.get(slice_name, {}).get(name, (None, None))
            table.add_row(
                escape(slice_name) if first else "",
                f"{values['example_count']:.0f}" if first else "",
                escape(name),
                f"{value:.4f}",
                "" if low is None else f"{low:.4f} to {high:.4f}",
            )
            first = False
    return table
