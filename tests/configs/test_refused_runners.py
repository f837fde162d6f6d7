"""Runners that a YAML may not name are refused with the reason, not only with the list of those that it may."""

import pytest

from configs.load import ConfigError, load_runner
from configs.refused_runners import explain_refused_runner


@pytest.mark.parametrize("name", ["dask", "Dask", "DaskRunner", "apache_beam.runners.dask.dask_runner.DaskRunner"])
def test_dask_is_explained(name):
    reason = explain_refused_runner(name)
    assert "leaves them empty without an error" in reason
    assert reason.endswith(f"Received: {name!r}.")


def test_prism_is_explained():
    assert "downloads" in explain_refused_runner("PrismRunner")


@pytest.mark.parametrize("name", ["direct", "DirectRunner", "flink", "spark", "dataflow", "daskery", ""])
def test_others_are_not(name):
    assert explain_refused_runner(name) is None


def test_the_loader_says_why(tmp_path):
    path = tmp_path / "runner.yaml"
    path.write_text("kind: local\nbeam: {runner: dask}\n")
    with pytest.raises(ConfigError) as error:
        load_runner(str(path))
    (problem,) = error.value.problems
    assert problem.key == "beam.runner"
    assert problem.message == explain_refused_runner("dask")


def test_other_names_get_the_choices(tmp_path):
    path = tmp_path / "runner.yaml"
    path.write_text("kind: local\nbeam: {runner: flnk}\n")
    with pytest.raises(ConfigError, match="'direct', 'flink', 'spark' or 'dataflow'.*Did you mean `flink`"):
        load_runner(str(path))
