"""The formats of a drawing: which one is meant, and where its file goes."""

from pathlib import Path, PurePath

from components.errors import UserError
from configs.runner_schema import ClusterRunnerConfig, LocalRunnerConfig
from pipeline.lineage.drawing.model import Drawing
from pipeline.paths import find_root, make_lineage_path

# Formats with the ends of names that mean them, the usual one first.
SUFFIXES = {
    "html": (".html", ".htm"),
    "svg": (".svg",),
    "mermaid": (".mmd", ".mermaid"),
    "dot": (".dot", ".gv"),
}
TEXT_FORMATS = ("mermaid", "dot")


def choose_format(given: str | None, output: str | None) -> str:
    """Returns the format: the one that is given, else the one of the file's name; a page if neither says.

    Raises:
        UserError: If only the file's name could say, and does not.
    """
    if given is not None:
        return given
    if output is None or output == "-":
        return "html"
    suffix = PurePath(output).suffix.lower()
    for name, suffixes in SUFFIXES.items():
        if suffix in suffixes:
            return name
    known = ", ".join(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
    raise UserError(
        f"Without --format the name of --output must end in one of {known}. Received: {output!r}. "
        f"Give --format: {', '.join(SUFFIXES)}."
    )


def find_path(
    drawing: Drawing, format_name: str, output: str | None, runner: LocalRunnerConfig | ClusterRunnerConfig
) -> Path:
    """Returns where a drawing goes: the file that is given, else one in the `reports/` of the runner's root."""
    if output is not None:
        return Path(output)
    root = Path(find_root(runner)).resolve()
    return make_lineage_path(root, drawing.pipeline, f"{drawing.name}{SUFFIXES[format_name][0]}")


def render(drawing: Drawing, format_name: str) -> str:
    """Returns a drawing as text in a format.

    Args:
        drawing: What is drawn.
        format_name: One of `SUFFIXES`.
    """
    if format_name == "mermaid":
        from pipeline.lineage.drawing import mermaid

        return mermaid.render(drawing)
    if format_name == "dot":
        from pipeline.lineage.drawing import dot

        return dot.render(drawing)
    from pipeline.lineage.drawing.layout import lay_out

    if format_name == "svg":
        from pipeline.lineage.drawing import svg

        return svg.render(drawing, lay_out(drawing))
    from pipeline.lineage.drawing import page

    return page.render(drawing, lay_out(drawing))
