"""What we start from: the catalogue of backbones, their exact weights, and the builders of classifiers and encoders."""

from ..core.lazy import attach

_NAMES = {
    "build_classifier": ".classifier",
    "build_encoder": ".encoder",
    "CatalogEntry": ".catalog",
    "entry": ".catalog",
    "names": ".catalog",
    "table": ".catalog_table",
    "Preprocessing": ".preprocessing",
    "Augmentation": ".augmentation",
    "RandomView": ".augmentation",
    "augmentation_layers": ".augmentation",
    "show_augmentation": ".augmentation_picture",
    "load_weights_exactly": ".weights",
    "find_blocks": ".blocks",
    "rank": ".ranking",
    "Ranking": ".ranking",
    "h_score": ".transferability",
    "log_me": ".transferability",
}
__all__ = [*_NAMES]
__getattr__, __dir__ = attach(__name__, _NAMES)
