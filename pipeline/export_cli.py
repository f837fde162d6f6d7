"""`export`: a model in a format for others."""

from pathlib import Path

import click

from components import runtime
from pipeline.cli_options import ROOT, RUNNER, check_written_path, close_store, load_runner_file, open_store


@click.command("export")
@click.argument("model", metavar="[MODEL]", required=False)
@click.option("--format", "format_name", type=click.Choice(["hf", "keras", "savedmodel"]), required=True)
@click.option(
    "--output", metavar="FOLDER", help="Where to. Without it: below the root's `exports/`.", callback=check_written_path
)
@click.option("--dtype", type=click.Choice(["float32", "bfloat16", "float16"]), help="Of the weights (hf, keras).")
@click.option("--config", "config_path", metavar="CONFIG", help="savedmodel of a preset: the run whose text it gets.")
@click.option("--pipeline", "pipeline_name", metavar="NAME", help="Without MODEL: only models of this pipeline.")
@RUNNER
@ROOT
def export_command(
    model: str | None,
    format_name: str,
    output: str | None,
    dtype: str | None,
    config_path: str | None,
    pipeline_name: str | None,
    runner_name: str,
    root: str | None,
) -> None:
    """Write MODEL for others, check that it computes the same, and say of it what is known.

    MODEL is a run, a pushed version, a Model artifact (its folder or number) or a preset (a folder, a name or a handle). Without
    it: the model pushed last.

    \b
    hf          for transformers, vLLM, llama.cpp: safetensors, config, tokenizer, README.md
    keras       a KerasHub preset
    savedmodel  for TensorFlow Serving
    """
    from configs.runner_schema import LocalRunnerConfig
    from pipeline.export_command import Wish, run_export
    from pipeline.export_source import find_source
    from pipeline.paths import find_root
    from pipeline.validate import load_config

    if model is not None and pipeline_name is not None:
        raise click.UsageError("--pipeline is for the newest model: leave out the argument, or --pipeline.")
    runner = load_runner_file(runner_name, root)
    if output is None and not isinstance(runner, LocalRunnerConfig):
        raise click.UsageError("--output must say where to: the runner's root is not on this machine.")
    config = load_config(config_path) if config_path else None
    source = find_source(model, pipeline_name, lambda: open_store(runner))
    close_store()
    folder = Path(output) if output else Path(find_root(runner)).resolve() / "exports" / f"{source.name}-{format_name}"
    runtime.set_defaults()
    runtime.load_tensorflow_silently()
    wish = Wish(
        format_name=format_name,
        output=folder,
        dtype=dtype,
        text=config.text.model_dump(mode="json") if config else None,
        generation=config.generation.model_dump(mode="json") if config else None,
    )
    run_export(source, wish, lambda line: click.echo(line, err=True))
    click.echo(f"Wrote {folder}")
