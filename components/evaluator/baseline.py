"""Finds the baseline: the model blessed last, the candidate itself excepted."""

from typing import Any

from tfx.components.evaluator import constants
from tfx.dsl.components.common import resolver
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact


class LatestOtherBlessedModel(resolver.ResolverStrategy):
    """Resolves `model` to the model blessed last among all but `candidate`, or to none.

    TFX's LatestBlessedModelStrategy would return the candidate itself when a finished run is repeated: Evaluator and
    Pusher would then run again, on a comparison of a model with itself, instead of being cached.

    Inputs of the resolver: `candidate` (the model at hand), `model` and `model_blessing` (all there are).
    """

    def resolve_artifacts(self, store: Any, input_dict: dict[str, list[Artifact]]) -> dict[str, list[Artifact]]:
        """Returns the same keys with at most one model and its blessing."""
        candidate = artifact_utils.get_single_instance(input_dict["candidate"])
        models = {model.id: model for model in input_dict["model"] if model.id != candidate.id}
        for blessing in sorted(input_dict["model_blessing"], key=lambda b: b.id, reverse=True):
            model_id = blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY)
            blessed = blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY)
            # A model that was pruned, or that lies on another machine, cannot be compared with.
            if blessed == constants.BLESSED_VALUE and model_id in models and fileio.exists(models[model_id].uri):
                return {"candidate": [candidate], "model": [models[model_id]], "model_blessing": [blessing]}
        return {"candidate": [candidate], "model": [], "model_blessing": []}
