"""The settings of one run: a field is an option of `keras-transfer fit` and a key of its YAML file, under one name."""

from .checking import make_config
from .files import RESOLVED_BY, read_config, versions, write_config
from .run_config import RunConfig
from .tasks import EPOCHS, STAGES, TASKS

__all__ = [
    "EPOCHS",
    "RESOLVED_BY",
    "STAGES",
    "TASKS",
    "RunConfig",
    "make_config",
    "read_config",
    "versions",
    "write_config",
]
