"""What the commands share: options, how configurations are read, and errors without a traceback."""

import contextlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from components.errors import UserError
from components.harmless import make_harmless
from components.system_errors import explain_system_error
from pipeline import exit_codes

if TYPE_CHECKING:
    from ml_metadata.metadata_store import MetadataStore

    from configs.runner_schema import ClusterRunnerConfig, LocalRunnerConfig
    from configs.schema import RunConfig

# Under this key of a command's context lies the store that it reads.
_OPEN_STORE = "pipeline.cli_options.open_store"

SET = click.option(
    "--set", "overrides", multiple=True, metavar="SECTION.KEY=VALUE", help="Override one value of the file; repeatable."
)
ROOT = click.option("--root", metavar="FOLDER", help="Overrides the runner's root folder.")
RUNNER = click.option(
    "--runner",
    "runner_name",
    default="local",
    show_default=True,
    metavar="NAME|FILE",
    help="A file in configs/runners/.",
)
CLUSTER = click.option(
    "--runner",
    "runner_name",
    required=True,
    metavar="kubeflow|vertex|FILE",
    help="The cluster: a file in configs/runners/, or another one.",
)
IMAGE = click.option("--image", metavar="NAME:TAG", help="The container image that holds the code.")


def check_written_path(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """For options that say where something is written: the callback that refuses what a shell would have replaced."""
    from configs.folders import find_shell_word

    del context
    if value is not None and (problem := find_shell_word(value)):
        raise click.BadParameter(problem, param=parameter)
    return value


HTML = click.option(
    "--html",
    "page",
    metavar="FILE",
    help="Where the page goes, instead of into the root's `reports/`.",
    callback=check_written_path,
)


@contextlib.contextmanager
def _harmless_messages() -> Iterator[None]:
    try:
        yield
    except click.UsageError as error:
        told = error.format_message()
        if make_harmless(told) == told:
            raise
        raise click.UsageError(make_harmless(told), error.ctx) from None


class CommandGroup(click.Group):
    """Prints errors that the user can mend without a traceback, and no control characters of what was typed or read.

    It tells damage of the store that a command reads from faults of this program.
    """

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Reads the options of the group itself."""
        with _harmless_messages():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> object:
        """Runs the command."""
        try:
            with _harmless_messages():
                return super().invoke(ctx)
        except UserError as error:
            from configs.load import ConfigError

            is_config = isinstance(error, ConfigError)
            click.echo(make_harmless(f"{'ConfigError' if is_config else 'Error'}: {error}"), err=True)
            ctx.exit(exit_codes.USAGE if is_config else exit_codes.FAILED)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:  # click would end with the code of a failure
            click.echo("Interrupted.", err=True)
            ctx.exit(exit_codes.INTERRUPTED)
        except Exception as error:
            told = explain_system_error(error) or (None if isinstance(error, OSError) else _explain_damage(ctx, error))
            if told is None:
                raise
            click.echo(make_harmless(f"Error: {told}"), err=True)
            ctx.exit(exit_codes.FAILED)


def _explain_damage(ctx: click.Context, error: Exception) -> str | None:
    """What is wrong with the store that a command has failed to read, and the way out; None if it can be read, or if there is none."""
    store = ctx.meta.get(_OPEN_STORE)
    if store is None:
        return None
    from pipeline.lineage.damage import find_damage

    damage = find_damage(store)
    return damage and (
        f"The metadata store must hold what runs have written into it. Received: {damage}. It is damaged, or something else has "
        f"written into it: put back a copy of it, or mend that record. ({type(error).__name__}: {error})"
    )


def open_store(runner: "LocalRunnerConfig | ClusterRunnerConfig") -> "MetadataStore":
    """Opens the metadata store of a runner for reading, for the command that runs: see `close_store`."""
    from pipeline.lineage.store import open_store as open_for_reading
    from pipeline.metadata_connection import make_connection_config

    store = open_for_reading(make_connection_config(runner))
    click.get_current_context().meta[_OPEN_STORE] = store
    return store


def close_store() -> None:
    """Says that the command has read all that it needs: what fails afterwards is not blamed on the store."""
    click.get_current_context().meta.pop(_OPEN_STORE, None)


def find_runner_path(name: str) -> str:
    """Returns the file of the runner of that name in `configs/runners/`, or `name` if that is a file's."""
    from pipeline.code_hash import REPOSITORY_ROOT

    is_file = name.endswith((".yaml", ".yml"))
    return name if is_file else str(REPOSITORY_ROOT / "configs" / "runners" / f"{name}.yaml")


def load_runner_file(
    name: str, root: str | None, image: str | None = None
) -> "LocalRunnerConfig | ClusterRunnerConfig":
    """Returns the runner of that name in `configs/runners/`, or in that file."""
    from configs.load import load_runner

    given = {"root": root, "image": image}
    overrides = [f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None]
    return load_runner(find_runner_path(name), overrides)


def load_files(
    config_path: str, runner_name: str, overrides: tuple[str, ...], root: str | None, image: str | None = None
) -> tuple["RunConfig", "LocalRunnerConfig | ClusterRunnerConfig"]:
    """Returns both configurations, or raises the problems of both.

    What a run needs on a cluster is checked later, in `pipeline.runner_checks.check_run`.
    """
    from configs.load import ConfigError
    from configs.runner_schema import LocalRunnerConfig
    from pipeline.runner_checks import find_local_problems, find_mount
    from pipeline.validate import load_config

    errors = []
    config = runner = None
    try:
        runner = load_runner_file(runner_name, root, image)
        if isinstance(runner, LocalRunnerConfig) and (problems := find_local_problems(runner)):
            raise ConfigError(find_runner_path(runner_name), problems)
    except ConfigError as error:
        errors.append(error)
    try:
        config = load_config(config_path, overrides, find_mount(runner) if runner else None)
    except ConfigError as error:
        errors.insert(0, error)
    if errors or config is None or runner is None:
        for other in errors[:-1]:
            click.echo(make_harmless(f"ConfigError: {other}"), err=True)
        raise errors[-1]
    return config, runner


def require_cluster(runner: "LocalRunnerConfig | ClusterRunnerConfig") -> "ClusterRunnerConfig":
    """Returns the runner if it is a cluster.

    Raises:
        click.BadParameter: If it is this machine.
    """
    from configs.runner_schema import LocalRunnerConfig

    if isinstance(runner, LocalRunnerConfig):
        raise click.BadParameter(
            "must be a cluster (kind kubeflow or vertex). Received one of kind local, which `run` is for.",
            param_hint="--runner",
        )
    return runner


def load_cluster_files(
    config_path: str, runner_name: str, overrides: tuple[str, ...], image: str | None
) -> tuple["RunConfig", "ClusterRunnerConfig"]:
    """Returns a run and the cluster that it is for, or raises the problems of both."""
    # A runner of this machine has no image, which would be told as an unknown key.
    require_cluster(load_runner_file(runner_name, None))
    config, runner = load_files(config_path, runner_name, overrides, None, image)
    return config, require_cluster(runner)


def require_local(runner: "LocalRunnerConfig | ClusterRunnerConfig", command: str, hint: str) -> "LocalRunnerConfig":
    """Returns the runner if it is this machine.

    Raises:
        UserError: If it is a cluster.
    """
    from configs.runner_schema import LocalRunnerConfig

    if not isinstance(runner, LocalRunnerConfig):
        raise UserError(f"`{command}` works on this machine, and needs a runner of kind local. {hint}")
    return runner
