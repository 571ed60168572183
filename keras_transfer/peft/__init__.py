"""Floor 2: tune a frozen model by a few new weights: LoRA and its kin, injected, switched, merged and taken out again."""

from .adapters import activate, active, disabled, eject
from .bias import BitFit
from .bottleneck import Bottleneck, FeedForwardBottleneck
from .dora import DoRA
from .files import load_adapters, save_adapters
from .ia3 import IA3
from .injected import Injected
from .injection import add_adapter, inject
from .lora import LoRA
from .merging import merge
from .places import adapter_names
from .prefix import PrefixTuning
from .prompt import PromptTuning
from .quantising import dequantize, load_quantized, quantize, rematerialised
from .wrapper import Adapter, Injection

__all__ = [
    "inject",
    "merge",
    "eject",
    "Injected",
    # several adapters on one base
    "add_adapter",
    "activate",
    "active",
    "adapter_names",
    "disabled",
    # small files, HF PEFT's too
    "save_adapters",
    "load_adapters",
    # frozen kernels in 4 bits, and blocks that keep nothing for the backward pass
    "quantize",
    "dequantize",
    "load_quantized",
    "rematerialised",
    # methods, and what they are made of
    "LoRA",
    "DoRA",
    "Bottleneck",
    "FeedForwardBottleneck",
    "PrefixTuning",
    "PromptTuning",
    "IA3",
    "BitFit",
    "Injection",
    "Adapter",
]
