"""The components of the compiled pipeline. The whole of it is in tests/golden/."""

import json

from configs.runner_schema import KubeflowRunnerConfig
from pipeline.kubeflow.compiler import _make_component


def test_no_text_of_the_run_is_expanded_on_the_way():
    """Kubernetes expands `$$` and `$(NAME)` in arguments, secrets among them; Kubeflow its own placeholders."""
    runner = KubeflowRunnerConfig(kind="kubeflow", pipeline_root="gs://bucket/runs", image="image:1")
    settings = {"text": {"system": "Put $$x$$ for $(HF_TOKEN), {{$.inputs.parameters['x']}} and {{$}}. Price: 5 $"}}
    component = _make_component(runner, settings, ["run_id"], "train", "run-node", [])
    arguments = component.component_spec.implementation.container.args
    (text,) = (a for a in arguments if isinstance(a, str) and a.startswith("{"))
    assert "$" not in text
    assert json.loads(text) == settings
