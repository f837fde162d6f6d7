"""What `compile` and `run-spec` do."""

import os
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.errors import UserError
from configs.runner_schema import ClusterRunnerConfig, KubeflowRunnerConfig, VertexRunnerConfig
from configs.schema import RunConfig
from pipeline.code_hash import REPOSITORY_ROOT
from pipeline.console import make_console
from pipeline.execution.child_process import (
    ChildDiedError,
    ChildError,
    ChildProcess,
    Interrupted,
    signals_as_exceptions,
)
from pipeline.exit_codes import FAILED, INTERRUPTED
from pipeline.local_runner import make_run_id
from pipeline.paths import PIPELINE_ROOT
from pipeline.preset_pins import pin_presets
from pipeline.runner_checks import require_valid_run
from pipeline.specs.compiled_spec import CompiledSpec
from pipeline.specs.file import fill_parameters, name_parameters_file, read_spec, write_spec
from pipeline.specs.parameters import replace_root
from pipeline.specs.runner import TaskFailedError, run_spec

_METADATA = "metadata"
_LOCAL_STORE = '{"kind": "sqlite", "path": "metadata.sqlite"}'


def compile_run(config: RunConfig, config_path: str, runner: ClusterRunnerConfig, log_path: Path) -> CompiledSpec:
    """Compiles a run for its cluster.

    Args:
        config: The run.
        config_path: Where it was read from.
        runner: The cluster; with an image.
        log_path: What the libraries print.

    Raises:
        UserError: If that fails; the log has the traceback.
    """
    child = ChildProcess(_compile, (config, _name_config(config_path), runner), log_path)
    try:
        return CompiledSpec(**child.wait())
    except ChildError as error:
        raise UserError(f"the pipeline could not be compiled: {error} Log: {log_path}") from error
    except ChildDiedError as error:
        raise UserError(f"the pipeline could not be compiled: {error}") from error
    except BaseException:
        child.stop()
        raise


def _name_config(path: str) -> str:
    """Returns the path within the repository, or the name alone: who compiles where must not change what is compiled."""
    absolute = Path(os.path.abspath(path))
    is_ours = absolute.is_relative_to(REPOSITORY_ROOT)
    return absolute.relative_to(REPOSITORY_ROOT).as_posix() if is_ours else absolute.name


def compile_to_file(config: RunConfig, config_path: str, runner: ClusterRunnerConfig, path: Path) -> None:
    """Compiles a run, writes it with its parameters, and says what can be done with it.

    Raises:
        ConfigError: If the run cannot run there, with every reason.
        UserError: If a handle's commit cannot be found.
    """
    config = require_valid_run(config, config_path, runner)
    console = make_console()
    config = pin_presets(config, console)
    folder = tempfile.mkdtemp(prefix="compile-")  # stays with its log where compiling fails
    with console.status("Loading TensorFlow and TFX"):
        compiled = compile_run(config, config_path, runner, Path(folder, "compile.log"))
    shutil.rmtree(folder, ignore_errors=True)
    write_spec(compiled, path)
    console.print(
        f"{path}: {len(compiled.text):,} characters; parameters: {name_parameters_file(path)}",
        soft_wrap=True,
        markup=False,
    )
    console.print(f"Try it here: python -m pipeline run-spec {shlex.quote(str(path))}", soft_wrap=True, markup=False)


def _compile(config: RunConfig, config_path: str, runner: ClusterRunnerConfig) -> dict[str, Any]:
    # Paths of the configuration are below it, here as in the image.
    os.chdir(REPOSITORY_ROOT)
    if isinstance(runner, VertexRunnerConfig):
        from pipeline.vertex.compiler import compile_for_vertex

        return compile_for_vertex(config, runner)
    from pipeline.kubeflow.compiler import compile_for_kubeflow

    assert isinstance(runner, KubeflowRunnerConfig)
    return compile_for_kubeflow(config, config_path, runner)


def run_spec_file(path: Path, given: Mapping[str, str], root: Path, max_parallel: int) -> int:
    """Runs a compiled pipeline below `root`, and returns the exit code."""
    file = read_spec(path)
    root = root.resolve()
    parameters = fill_parameters(file.spec, file.parameters)
    if PIPELINE_ROOT in parameters:
        parameters = replace_root(parameters, str(root))
    if _METADATA in parameters:
        parameters[_METADATA] = _LOCAL_STORE
    parameters = fill_parameters(file.spec, {**parameters, **given})
    run_id = make_run_id()
    console = make_console()
    console.print(f"Pipeline [bold]{file.spec['pipelineInfo']['name']}[/], run {run_id}")
    console.print(f"Logs: {root / 'runs' / run_id}", style="dim", soft_wrap=True, markup=False)
    signals: list[str] = []
    try:
        with signals_as_exceptions() as signals:
            result = run_spec(file.spec, parameters, root, run_id, max_parallel, console)
    except (TaskFailedError, Interrupted) as error:
        console.print(f"\n[red]{'Interrupted' if signals else 'Failed'}.[/] ", end="")
        console.print(str(error), markup=False, soft_wrap=True)
        return INTERRUPTED if signals else FAILED
    ran = f"{len(result.skipped)} tasks were skipped, the others have" if result.skipped else "Every task has"
    console.print(f"\n{ran} run as the cluster would run it. Artifacts: {root}", soft_wrap=True, markup=False)
    return 0
