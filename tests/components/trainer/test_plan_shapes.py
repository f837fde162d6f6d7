"""What `auto` counts: the steps that will be made."""

import pytest

from components.trainer import training
from components.trainer.compilation import Compilation


@pytest.mark.parametrize(("epochs", "max_steps", "share"), [(3, None, 3.0), (1000, 2, None), (1, 2, None)])
def test_auto_counts_the_steps_that_are_made(
    make_tiny_model, make_datasets, train_section, monkeypatch, epochs, max_steps, share
):
    seen = {}

    def plan(jit_compile, **counts):
        seen.update(counts)
        return Compilation(False, 0.0, 1)

    monkeypatch.setattr(training, "plan_compilation", plan)
    data = make_datasets()
    training.plan_shapes(make_tiny_model(), train_section | {"epochs": epochs, "max_steps": max_steps}, *data)
    if share is None:
        share = max_steps / data[0].steps_per_epoch
    assert seen["num_positions"] == int(share * data[0].statistics.num_tokens)
