"""What we start from: the catalogue of backbones, their exact weights, and the builders of classifiers and encoders."""

from ..core.lazy import attach

_NAMES = {
    "build_classifier": ".classifier",
    "build_encoder": ".encoder",
    "CatalogEntry": ".catalog",
    "entry": ".catalog",
    "names": ".catalog",
    "Preprocessing": ".preprocessing",
    "Augmentation": ".augmentation",
    "RandomView": ".augmentation",
    "augmentation_layers": ".augmentation",
    "load_weights_exactly": ".weights",
    "find_blocks": ".blocks",
}
__all__ = [*_NAMES]
__getattr__, __dir__ = attach(__name__, _NAMES)
