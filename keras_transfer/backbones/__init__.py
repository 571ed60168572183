"""What we start from: the catalogue of backbones, their exact weights, and the builders of classifiers and encoders."""

from ..core.lazy import attach

_NAMES = {
    "build_classifier": ".classifier",
    "build_encoder": ".encoder",
    "build_text_classifier": ".text_classifier",
    "build_text_encoder": ".text_classifier",
    "text_names": ".text_catalog",
    "TextInputs": ".text_inputs",
    "TextPooling": ".text_pooling",
    "load_word_vectors": ".word_vectors",
    "WordVectors": ".word_vectors",
    "WordInputs": ".word_inputs",
    "build_lstm_classifier": ".text_baselines",
    "build_transformer_classifier": ".text_baselines",
    "learn_vocabulary": ".text_baselines",
    "TFHubLayer": ".tfhub",
    "trust_module": ".module_safety",
    "CatalogEntry": ".catalog",
    "entry": ".catalog",
    "names": ".catalog",
    "table": ".catalog_table",
    "text_table": ".catalog_table",
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
