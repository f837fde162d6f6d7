"""Tuning methods: one a file, all rows of one table.

Importing this package imports neither Keras nor TensorFlow, so that a configuration is checked in a moment.
"""

from components.methods.table import METHODS, find_option_problems, make_method, option_names

__all__ = ["METHODS", "find_option_problems", "make_method", "option_names"]
