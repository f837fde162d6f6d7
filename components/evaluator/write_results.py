"""TFMA's pass: extracts to result files. Which metrics, models and slices, the configuration says."""

from typing import Any

import apache_beam as beam
import tfx.types  # noqa: F401  Before TFMA, see resampling.py.
from tensorflow_model_analysis.proto import config_pb2

import tensorflow_model_analysis as tfma  # isort: skip
from tensorflow_model_analysis.extractors import slice_key_extractor  # isort: skip


class WriteResults(beam.PTransform):
    """Extracts -> TFMA's files, which `results.read_results` reads."""

    def __init__(self, eval_config: config_pb2.EvalConfig, output_path: str):
        """Sets it up.

        Args:
            eval_config: From `make_eval_config`.
            output_path: Folder of the files.
        """
        super().__init__()
        self._eval_config = eval_config
        self._output_path = output_path

    def expand(self, extracts: Any) -> Any:
        """Writes the files."""
        slicer = slice_key_extractor.SliceKeyExtractor(eval_config=self._eval_config, materialize=False)
        return extracts | tfma.ExtractEvaluateAndWriteResults(
            eval_config=self._eval_config, extractors=[slicer], output_path=self._output_path
        )
