"""Floor 2: ways to tune a pretrained model. Each is a function that fits a model, or a Keras object for your own `fit`."""

from .strategies import feature_extraction, full, train

__all__ = ["feature_extraction", "full", "train"]
