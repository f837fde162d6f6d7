"""What the commands share: options, how configurations are read, and errors without a traceback."""

import json
from typing import TYPE_CHECKING

import click

from components.errors import UserError
from pipeline import exit_codes

if TYPE_CHECKING:
    from configs.runner_schema import ClusterRunnerConfig, LocalRunnerConfig
    from configs.schema import RunConfig

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


class CommandGroup(click.Group):
    """Prints errors that the user can mend without a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        """Runs the command."""
        from configs.load import ConfigError

        try:
            return super().invoke(ctx)
        except ConfigError as error:
            click.echo(f"ConfigError: {error}", err=True)
            ctx.exit(exit_codes.USAGE)
        except UserError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(exit_codes.FAILED)


def load_runner_file(
    name: str, root: str | None, image: str | None = None
) -> "LocalRunnerConfig | ClusterRunnerConfig":
    """Returns the runner of that name in `configs/runners/`, or in that file."""
    from configs.load import load_runner
    from pipeline.code_hash import REPOSITORY_ROOT

    path = name if name.endswith((".yaml", ".yml")) else str(REPOSITORY_ROOT / "configs" / "runners" / f"{name}.yaml")
    given = {"root": root, "image": image}
    return load_runner(path, [f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None])


def load_files(
    config_path: str, runner_name: str, overrides: tuple[str, ...], root: str | None, image: str | None = None
) -> tuple["RunConfig", "LocalRunnerConfig | ClusterRunnerConfig"]:
    """Returns both configurations, or raises the problems of both."""
    from configs.load import ConfigError
    from pipeline.validate import load_config

    errors = []
    config = runner = None
    try:
        config = load_config(config_path, overrides)
    except ConfigError as error:
        errors.append(error)
    try:
        runner = load_runner_file(runner_name, root, image)
    except ConfigError as error:
        errors.append(error)
    if errors or config is None or runner is None:
        for other in errors[:-1]:
            click.echo(f"ConfigError: {other}", err=True)
        raise errors[-1]
    return config, runner


def require_local(runner: "LocalRunnerConfig | ClusterRunnerConfig", command: str, hint: str) -> "LocalRunnerConfig":
    """Returns the runner if it is this machine.

    Raises:
        UserError: If it is a cluster.
    """
    from configs.runner_schema import LocalRunnerConfig

    if not isinstance(runner, LocalRunnerConfig):
        raise UserError(f"`{command}` works on this machine, and needs a runner of kind local. {hint}")
    return runner
