"""`lineage` and its subcommands: questions to the metadata store. Only `gc --yes` changes it."""

import gc

import click

from components.errors import UserError
from pipeline.lineage_cli.documents import export_command, graph_command
from pipeline.lineage_cli.options import OPEN_STORE
from pipeline.lineage_cli.questions import diff_command, impact_command, runs_command, show_command
from pipeline.lineage_cli.upkeep import gc_command, verify_command


class LineageGroup(click.Group):
    """Tells damage of the store from faults of this program."""

    def invoke(self, ctx: click.Context) -> object:
        """Runs the subcommand."""
        try:
            return super().invoke(ctx)
        except (UserError, OSError, click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            from pipeline.lineage.damage import find_damage

            store = ctx.meta.get(OPEN_STORE)
            damage = find_damage(store) if store is not None else None
            if damage is None:
                raise
            raise UserError(
                f"The metadata store must hold what runs have written into it. Received: {damage}. It is damaged, or something else "
                "has written into it: put back a copy of it, or mend that record."
            ) from error


@click.group(
    "lineage",
    cls=LineageGroup,
    commands=(
        show_command,
        runs_command,
        impact_command,
        diff_command,
        graph_command,
        export_command,
        verify_command,
        gc_command,
    ),
)
def lineage_group() -> None:
    """Ask the metadata store where models come from, what was made from what, and what differs."""
    # A short process that reads many small records and makes hardly any cycles: looking for these takes 6 % of its time.
    gc.set_threshold(50_000)
