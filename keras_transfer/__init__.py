"""Transfer learning with Keras 3: `import keras_transfer as kt`. Every public name imports its room on first use."""

from .core.hook import install
from .core.lazy import attach
from .core.rooms import open_door

_NAMES = {
    "__version__": ".core.version",
    # what goes in
    "load_images": ".data",
    "ImageData": ".data",
    "scan_folder": ".data",
    "load_texts": ".data",
    "TextData": ".data",
    # what we start from
    "build_classifier": ".backbones",
    "build_encoder": ".backbones",
    "build_text_classifier": ".backbones",
    "build_text_encoder": ".backbones",
    # which layers, and what they may learn
    "select": ".core.selection",
    "named_layers": ".core.selection",
    "freeze": ".core.freezing",
    "unfreeze": ".core.freezing",
    "trainable_report": ".core.freezing",
    # how it learns
    "fine_tune": ".tuning",
    "layerwise": ".core.rates",
    "layerwise_decay": ".core.rates",
    "LayerwiseOptimizer": ".core.optimizers",
    "strategy": ".core.devices",
    # files
    "save": ".core.saving",
    "load": ".core.saving",
    # what comes out
    "inference_model": ".export",
    "export_tflite": ".export",
    "compress_to": ".export",
    "write_report": ".evaluate",
    "plot_history": ".evaluate",
    # what to choose
    "compare": ".evaluate",
    "advise": ".evaluate",
    "show_predictions": ".evaluate",
    # the rooms
    "core": "",
    "data": "",
    "backbones": "",
    "tuning": "",
    "peft": "",
    "export": "",
    "fewshot": "",
    "evaluate": "",  # a verb too: evaluate(model, data)
    "config": "",
    "pipeline": "",
    "demo": "",
}
__all__ = [*_NAMES]
__getattr__, __dir__ = attach(__name__, _NAMES)
open_door(__name__, verbs=("evaluate",))
install()
