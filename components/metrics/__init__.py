"""The metrics that a run's `evaluation.metrics` may name: one file each.

Importing this package imports neither TensorFlow nor TFMA, so that a configuration is checked in a moment.
"""
