"""Examples artifacts on disk."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture
def serialize():
    """Returns a function from a dict (texts, and lists of numbers) to a serialized example."""
    import tensorflow as tf

    def serialize(example):
        record = tf.train.Example()
        for key, values in example.items():
            feature = record.features.feature[key]
            if isinstance(values, str):
                feature.bytes_list.value.append(values.encode())
            elif any(isinstance(value, float) for value in values):
                feature.float_list.value.extend(values)
            else:
                feature.int64_list.value.extend(values)
        return record.SerializeToString()

    return serialize


@pytest.fixture
def write_artifact(tmp_path, serialize):
    """Returns a function that writes tokenized examples (dicts of lists and texts by split) as an Examples artifact."""
    import tensorflow as tf
    from tfx.types import artifact_utils, standard_artifacts

    def write(splits, name="tokenized"):
        artifact = standard_artifacts.Examples()
        artifact.uri = str(tmp_path / name)
        artifact.split_names = artifact_utils.encode_split_names(list(splits))
        for split, examples in splits.items():
            folder = Path(artifact_utils.get_split_uri([artifact], split))
            folder.mkdir(parents=True)
            with tf.io.TFRecordWriter(str(folder / "examples.gz"), "GZIP") as writer:
                for example in examples:
                    writer.write(serialize(example))
        return artifact

    return write


@pytest.fixture
def read_artifact():
    """Returns a function that reads a split as dicts of lists; a single text is a str."""
    import tensorflow as tf
    from tfx.types import artifact_utils

    def read(artifact, split):
        files = sorted(str(p) for p in Path(artifact_utils.get_split_uri([artifact], split)).glob("*"))
        examples = []
        for record in tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator():
            example = {}
            for key, feature in tf.train.Example.FromString(record).features.feature.items():
                values = list(getattr(feature, feature.WhichOneof("kind")).value)
                example[key] = values[0].decode() if feature.HasField("bytes_list") else values
            examples.append(example)
        return examples

    return read


@pytest.fixture
def empty_artifact(tmp_path):
    """Returns a function that makes an output artifact below the test's folder."""
    from tfx.types import standard_artifacts

    def make(name, artifact_class=standard_artifacts.Examples):
        artifact = artifact_class()
        artifact.uri = str(tmp_path / name)
        Path(artifact.uri).mkdir()
        return artifact

    return make


@pytest.fixture(scope="session")
def small_tokenizers():
    """Returns the module `small_tokenizers.py`."""
    spec = importlib.util.spec_from_file_location("small_tokenizers", Path(__file__).with_name("small_tokenizers.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
