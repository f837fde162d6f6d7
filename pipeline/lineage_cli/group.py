"""`lineage` and its subcommands: questions to the metadata store. Only `gc --yes` changes it."""

import gc

import click

from pipeline.lineage_cli.documents import export_command, graph_command
from pipeline.lineage_cli.questions import diff_command, impact_command, runs_command, show_command
from pipeline.lineage_cli.upkeep import gc_command, verify_command


@click.group(
    "lineage",
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
