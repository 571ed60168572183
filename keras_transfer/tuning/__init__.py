"""Floor 2: ways to tune a pretrained model. Each is a function that fits a model, or a Keras object for your own `fit`."""

from ..core.batch_norm import reestimate
from ..core.rate_report import rate_report
from ..core.rates import layerwise_slice, no_decay
from ..core.schedules import OneCycle, SlantedTriangular, WarmupCosine, WarmupLinear, plot_schedule
from .anchoring import L2SP, AnchoredModel, l2_sp
from .as_it_is import tune
from .averaging import WeightAveraging
from .focal import FocalCrossentropy
from .forgetting import ForgettingMonitor
from .layerwise import layerwise
from .linear_probe import linear_probe
from .lr_finder import LearningRateFinder, lr_find
from .progressive import ProgressiveUnfreezing
from .recipe import fine_tune, partial, recipe
from .stage import Stage
from .stages import fit_stages
from .strategies import feature_extraction, full, train
from .text import text_optimizer, text_stage

__all__ = [
    # strategies, and the stages that they are made of
    "fine_tune",
    "partial",
    "feature_extraction",
    "full",
    "layerwise",
    "linear_probe",
    "train",
    "recipe",
    "Stage",
    "fit_stages",
    "tune",
    "text_stage",
    "text_optimizer",
    # for your own fit
    "ProgressiveUnfreezing",
    "WeightAveraging",
    "ForgettingMonitor",
    "LearningRateFinder",
    "lr_find",
    # what counts how much
    "FocalCrossentropy",
    # rates: kt.layerwise, kt.layerwise_decay and kt.LayerwiseOptimizer stand at the door
    "layerwise_slice",
    "no_decay",
    "rate_report",
    "OneCycle",
    "SlantedTriangular",
    "WarmupCosine",
    "WarmupLinear",
    "plot_schedule",
    # weights and statistics
    "l2_sp",
    "L2SP",
    "AnchoredModel",
    "reestimate",
]
