"""The command line. Every command imports what it needs when it runs, so that help and errors come at once."""

import os
import sys
from pathlib import Path
from typing import Any

import click
import yaml

from components import runtime
from components.harmless import make_harmless
from pipeline.cli_options import (
    HTML,
    IMAGE,
    ROOT,
    RUNNER,
    SET,
    CommandGroup,
    load_files,
    load_runner_file,
    open_store,
    require_local,
)
from pipeline.cluster_cli import COMMANDS
from pipeline.export_cli import export_command
from pipeline.lineage_cli.group import lineage_group
from pipeline.receipt_cli import receipt_command


@click.group(
    cls=CommandGroup,
    commands=(*COMMANDS, export_command, lineage_group, receipt_command),
    context_settings={"help_option_names": ["-h", "--help"]},
)
def main() -> None:
    """Fine-tune a language model, gate it on evidence, push it, and know where it came from."""
    # ML Metadata tells each connection to PostgreSQL on standard error.
    os.environ.setdefault("GLOG_minloglevel", "2")
    # Pydantic would look for plugins in all installed packages, which takes a tenth of the time of a short command.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


@main.command()
@click.argument("config_path", metavar="CONFIG")
@RUNNER
@SET
@ROOT
@click.option(
    "--resume",
    is_flag=False,
    flag_value="",
    metavar="[RUN_ID]",
    help="Go on with a run that did not finish; without an id, the newest.",
)
@click.option(
    "--skip-unchanged",
    is_flag=True,
    help="End at once if a run that was blessed and pushed had the same inputs; for cron.",
)
@click.option("--force", is_flag=True, help="Run all the same, though --skip-unchanged finds that nothing has changed.")
@click.option("--from", "from_nodes", multiple=True, metavar="NODE", help="Run this node and what follows; repeatable.")
@click.option("--to", "to_nodes", multiple=True, metavar="NODE", help="Run this node and what it needs; repeatable.")
def run(
    config_path: str,
    runner_name: str,
    overrides: tuple[str, ...],
    root: str | None,
    resume: str | None,
    skip_unchanged: bool,
    force: bool,
    from_nodes: tuple[str, ...],
    to_nodes: tuple[str, ...],
) -> None:
    """Run the pipeline that CONFIG describes, on this machine.

    Nodes that do not depend on each other run side by side, each in a process of its own with a log file of its own. Nodes
    whose inputs, parameters and code have not changed are taken from the cache. A run that was interrupted during training
    goes on at its last checkpoint when it is started again.

    With --from and --to a part of the pipeline runs; the outputs of all other nodes are those of the newest run that has them.

    Exit codes: 0 the model is blessed and pushed; 1 a node failed; 2 the configuration has problems; 3 the model was not
    blessed, so nothing was pushed; 130 interrupted.
    """
    config, runner = load_files(config_path, runner_name, overrides, root)
    local = require_local(runner, "run", "`submit` runs a pipeline on a cluster.")
    if resume is not None and (from_nodes or to_nodes):
        raise click.UsageError("--resume goes on with a whole run: leave out --from and --to.")
    if skip_unchanged and resume is not None:
        raise click.UsageError("--skip-unchanged is for a new run: leave out --resume.")
    from configs.load import ConfigError
    from pipeline.local_runner import Part
    from pipeline.validate import find_environment_problems

    if problems := find_environment_problems(config):
        raise ConfigError(config_path, problems)
    runtime.set_defaults()
    from pipeline.run_command import run_pipeline

    part = Part(from_nodes=from_nodes, to_nodes=to_nodes, resume=resume)
    sys.exit(run_pipeline(config, config_path, local, part, skip_unchanged=skip_unchanged, force=force))


@main.command()
@click.argument("config_path", metavar="CONFIG")
@RUNNER
@SET
@ROOT
@IMAGE
@click.option("--print", "print_config", is_flag=True, help="Print the whole configuration, defaults included.")
def validate(
    config_path: str,
    runner_name: str,
    overrides: tuple[str, ...],
    root: str | None,
    image: str | None,
    print_config: bool,
) -> None:
    """Check CONFIG, also for its runner, and list every problem at once. Runs nothing. Exit code 2 if there are any."""
    from configs.load import dump_config
    from pipeline.preset_checks import describe_preset
    from pipeline.runner_checks import require_valid_run

    config, runner = load_files(config_path, runner_name, overrides, root, image)
    require_valid_run(config, config_path, runner)
    if print_config:
        click.echo(dump_config(config), nl=False)
    else:
        click.echo(f"{config_path} is valid.")
        if told := describe_preset(config.model.preset):
            click.echo(told)


@main.command()
@click.option("--run", "run_id", metavar="ID", help="The run. Without it: the newest one with token cleaning.")
@click.option("--pipeline", "pipeline_name", metavar="NAME", help="Only runs of this pipeline.")
@click.option("--example", "example_id", metavar="ID", help="The example to show, or the beginning of a reported one.")
@HTML
@click.option("--json", "as_json", is_flag=True, help="Print the reports as JSON (of --example, if given); no page.")
@RUNNER
@ROOT
def tokens(
    run_id: str | None,
    pipeline_name: str | None,
    example_id: str | None,
    page: str | None,
    as_json: bool,
    runner_name: str,
    root: str | None,
) -> None:
    """Show what token cleaning kept and dropped: counts, an example token by token, and a page with all.

    A token's influence is its loss under the base model minus that under the reference model.
    """

    from pipeline import tokens_page, tokens_store, tokens_view
    from pipeline.console import make_console
    from pipeline.paths import Paths, find_root

    if as_json and page is not None:
        raise click.UsageError("give --html or --json, not both.")
    # An example that is in no report is looked up with TensorFlow.
    runtime.silence_tensorflow()
    runner = load_runner_file(runner_name, root)
    cleaning = tokens_store.load_cleaning(open_store(runner), run_id, pipeline_name)
    if as_json and example_id is None:
        click.echo(tokens_view.to_json(cleaning))
        return
    found = tokens_store.find_example(cleaning, example_id)
    if as_json:
        click.echo(tokens_view.to_json(cleaning, found))
        return
    console = make_console()
    console.print(tokens_view.render(cleaning, found, coloured=console.color_system is not None))
    paths = Paths(root=Path(find_root(runner)).resolve(), name=cleaning.pipeline_name)
    path = paths.tokens_page(cleaning.run_id) if page is None else Path(page)
    tokens_page.write_page(cleaning, path)
    console.print(f"\nPage: {path}", soft_wrap=True, markup=False)


@main.command()
@click.option("--run", "run_id", metavar="ID", help="The run. Without it: the newest one that was evaluated.")
@click.option("--pipeline", "pipeline_name", metavar="NAME", help="Only runs of this pipeline.")
@HTML
@RUNNER
@ROOT
def report(run_id: str | None, pipeline_name: str | None, page: str | None, runner_name: str, root: str | None) -> None:
    """Write the page of a run again: metrics with intervals, the verdict, examples, lineage. `run` writes it at its end."""
    from pipeline.run_command import write_report_page

    runner = load_runner_file(runner_name, root)
    click.echo(f"Page: {write_report_page(open_store(runner), runner, run_id, pipeline_name, page)}")


@main.command()
@click.option("--model", required=True, metavar="FOLDER|PRESET", help="A pushed model's folder, or a preset.")
@click.option("--suite", required=True, metavar="NAME", help="The benchmark; see below.")
@click.option("--data", required=True, metavar="PATH", help="Its file, or a folder with its files.")
@click.option("--shots", type=click.IntRange(0), default=0, show_default=True, help="Solved examples before each task.")
@click.option("--shots-from", metavar="PATH", help="Where these are, in the same layout.")
@click.option("--limit", type=click.IntRange(1), help="Take a sample of so many tasks.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Of sample and draws.")
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Tasks at a time.")
@click.option("--max-new-tokens", type=click.IntRange(1), help="Of a written answer, instead of the benchmark's own.")
@click.option("--samples", type=click.IntRange(1), default=1, show_default=True, help="Written answers to each task.")
@click.option("--sampler", default="greedy", show_default=True, metavar="NAME[,OPTION=VALUE]", help="For a preset.")
@click.option("--allow-code-execution", is_flag=True, help="Let programs run that the model writes (humaneval).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@RUNNER
@ROOT
def benchmark(
    model: str,
    suite: str,
    sampler: str,
    allow_code_execution: bool,
    as_json: bool,
    runner_name: str,
    root: str | None,
    **options: Any,
) -> None:
    """Measure a model on a published benchmark and record the result in the metadata store.

    \b
    mmlu            choices, CSV          --data test --shots 5 --shots-from dev
    bbq             choices, JSON Lines
    truthfulqa_mc1  choices, JSON; one is true
    truthfulqa_mc2  choices, JSON; several are true
    gsm8k           written numbers, JSON Lines
    squad           written answers, JSON; also XQuAD
    humaneval       written programs, JSON Lines
    ifeval          written texts with constraints, JSON Lines

    Files may end in .gz. Nothing is downloaded but a preset that is named.
    """
    from components.benchmark.suites.table import SUITES
    from components.options import nearest
    from components.trainer.samplers import find_option_problems

    if suite not in SUITES:
        raise click.UsageError(
            f"--suite must be one of {', '.join(SUITES)}.{nearest(suite, SUITES)} Received: {suite!r}."
        )
    name, *pairs = sampler.split(",")
    try:
        values = {key: yaml.safe_load(value) for key, _, value in (pair.partition("=") for pair in pairs)}
    except yaml.YAMLError as error:
        raise click.UsageError(f"--sampler: must be NAME[,OPTION=VALUE]. Received: {sampler!r}.") from error
    if problems := find_option_problems(name, values):
        raise click.UsageError("\n".join(f"--sampler {key}: {problem}" for key, problem in problems.items()))
    runner = require_local(load_runner_file(runner_name, root), "benchmark", "")
    runtime.set_defaults()
    from pipeline.benchmark_command import Benchmark, run_benchmark

    asked = Benchmark(suite=suite, **options)
    sys.exit(run_benchmark(model, asked, {"name": name, **values}, runner, allow_code_execution, as_json))


@main.command()
@click.argument("prompts", nargs=-1)
@click.option("--pipeline", "pipeline_name", metavar="NAME", help="The pipeline whose latest pushed model answers.")
@click.option("--model", "model_path", metavar="FOLDER", help="An exported model; instead of --pipeline.")
@click.option("--input", "context", metavar="TEXT", help="The input that the instructions are about.")
@click.option("--rendered", is_flag=True, help="The prompts are rendered already: apply no template.")
@click.option(
    "--conversation",
    "conversation_path",
    metavar="FILE",
    help="A conversation to go on with, as JSON: a list of messages, or an object with `messages` and `tools`. Instead of PROMPTS.",
)
@RUNNER
@ROOT
def generate(
    prompts: tuple[str, ...],
    pipeline_name: str | None,
    model_path: str | None,
    context: str | None,
    rendered: bool,
    conversation_path: str | None,
    runner_name: str,
    root: str | None,
) -> None:
    """Let the pushed model answer PROMPTS (without any: one a line from standard input).

    The exported model applies its prompt template by itself.
    """
    from pipeline import serving

    if model_path is not None and pipeline_name is not None:
        raise click.UsageError("give --model or --pipeline, not both.")
    if context is not None and rendered:
        raise click.UsageError("give --input or --rendered, not both.")
    if conversation_path is not None and (prompts or rendered or context is not None):
        raise click.UsageError("give --conversation alone, or PROMPTS.")
    conversation = serving.read_conversation(Path(conversation_path)) if conversation_path is not None else None
    if not prompts and conversation is None and sys.stdin.isatty():
        click.echo("Prompts, one a line; Ctrl-D ends them:", err=True)
    texts = list(prompts)
    if not texts and conversation is None:
        given = sys.stdin.buffer.read().decode("utf-8", "replace").removesuffix("\n")
        # Other characters that end lines, such as a form feed, are parts of a prompt.
        texts = [line.removesuffix("\r") for line in given.split("\n")] if given else []
    if not texts and conversation is None:
        raise click.UsageError("needs a prompt, as an argument or on standard input.")
    if model_path is None:
        hint = "`--model` names the folder of any exported model."
        serving_root = Path(require_local(load_runner_file(runner_name, root), "generate", hint).root) / "serving"
        folder = serving.find_pushed_model(serving_root / (pipeline_name or serving.find_only_pipeline(serving_root)))
    else:
        folder = Path(model_path)
    runtime.load_tensorflow_silently()
    model = serving.load_model(folder)
    if conversation is not None:
        texts, rendered = [serving.render_conversation(folder, conversation)], True
    elif not rendered and (context is not None or "serving_default" not in model.signatures):
        texts, rendered = serving.render(folder, texts, context or ""), True
    for text in serving.generate(model, texts, "complete" if rendered else "serving_default"):
        # A program that reads it gets the model's very words, a terminal none that would command it.
        click.echo(make_harmless(text) if sys.stdout.isatty() else text)
