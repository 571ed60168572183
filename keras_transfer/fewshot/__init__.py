"""Floor 2: learning from a few samples of each class, without or with little training."""

from .nearest_mean import nearest_mean

__all__ = ["nearest_mean"]
