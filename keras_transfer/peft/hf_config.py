"""`adapter_config.json` of HF PEFT: our settings from it and it from our settings; what we do not have is refused by name."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..core.messages import nearest

FILE = "adapter_config.json"
_LARGEST = 1 << 20
_NEUTRAL: tuple[Any, ...] = (None, False, {}, [], "", 0)
# Keys that change nothing for us: where the base came from, how training began, PEFT's own defaults.
_PASSED = (
    "auto_mapping", "base_model_name_or_path", "revision", "inference_mode", "peft_type", "peft_version", "task_type",
    "fan_in_fan_out", "megatron_core", "qalora_group_size", "ensure_weight_tying", "runtime_config",
)  # fmt: skip
_TARGETS = ("target_modules", "modules_to_save", "layers_to_transform", "layers_pattern", "exclude_modules")
_LORA = ("r", "lora_alpha", "lora_dropout", "use_rslora", "bias", "init_lora_weights", *_TARGETS)
_PROMPT = (
    "num_virtual_tokens", "token_dim", "num_layers", "num_attention_heads", "num_transformer_submodules",
    "modules_to_save", "prompt_tuning_init", "prompt_tuning_init_text", "tokenizer_name_or_path", "tokenizer_kwargs",
)  # fmt: skip
# These leave the base's weights as they are; "pissa", "olora", "corda" and "loftq" take something out of them.
_STARTS = (True, False, "gaussian", "eva", "orthogonal", "true", "false")


def read_config(folder: str | Path) -> tuple[str, dict[str, Any]]:
    """The method, `"lora"` or `"prompt"`, and its settings in our words; `ValueError` for what we cannot do alike.

    Example: `read_config("adapter")` gives `("lora", {"rank": 8, "alpha": 16.0, "dropout": 0.0, ...})`.
    """
    path = Path(folder) / FILE
    config = _load(path)
    kind = config.get("peft_type")
    readers = {"LORA": ("lora", _LORA, _lora), "PROMPT_TUNING": ("prompt", _PROMPT, _prompt)}
    if not isinstance(kind, str) or kind not in readers:
        raise ValueError(
            f"Adapter files hold LoRA or prompt tuning. {nearest(str(kind), readers)} Received: peft_type={kind!r} in {str(path)!r}"
        )
    method, known, reader = readers[kind]
    for key, value in config.items():
        if key not in _PASSED and key not in known and value not in _NEUTRAL:
            raise ValueError(
                f"The adapter uses {key!r}, which we do not have; train it without, or use HF PEFT. "
                f"Received: {key}={value!r} in {str(path)!r}"
            )
    try:
        return method, reader(config)
    except ValueError as error:
        raise ValueError(f"{error} in {str(path)!r}") from error


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        hint = "; give the folder, not a file in it" * path.parent.is_file()
        raise ValueError(f"The folder of an adapter must hold {FILE}{hint}. Received: {str(path.parent)!r}")
    if path.stat().st_size > _LARGEST:
        raise ValueError(
            f"{FILE} must be a few lines of JSON. Received: {path.stat().st_size:,} bytes in {str(path)!r}"
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{FILE} must be JSON ({error}). Received: {str(path)!r}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{FILE} must be a JSON object. Received: {type(config).__name__} in {str(path)!r}")
    return config


def _lora(config: dict[str, Any]) -> dict[str, Any]:
    rank, alpha, dropout = config.get("r", 8), config.get("lora_alpha", 8), config.get("lora_dropout") or 0.0
    if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
        raise ValueError(f"`r` must be a whole number of at least 1. Received: {rank!r}")
    if not _number(alpha) or alpha <= 0:
        raise ValueError(f"`lora_alpha` must be a positive number. Received: {alpha!r}")
    if not _number(dropout) or not 0 <= dropout < 1:
        raise ValueError(f"`lora_dropout` must be in [0, 1). Received: {dropout!r}")
    if config.get("bias", "none") not in ("none", "all", "lora_only"):
        raise ValueError(f"`bias` must be 'none', 'all' or 'lora_only'. Received: {config['bias']!r}")
    rslora = config.get("use_rslora") or False
    if not isinstance(rslora, bool):
        raise ValueError(f"`use_rslora` must be true or false. Received: {rslora!r}")
    start = config.get("init_lora_weights", True)
    if start not in _STARTS:
        raise ValueError(
            f"This start changes the base's weights, which the file does not hold; convert the adapter with HF PEFT. "
            f"Received: init_lora_weights={start!r}"
        )
    return {
        "rank": rank,
        "alpha": float(alpha),
        "dropout": float(dropout),
        "rslora": rslora,
        "bias": config.get("bias", "none"),
    }


def _prompt(config: dict[str, Any]) -> dict[str, Any]:
    length = config.get("num_virtual_tokens")
    if isinstance(length, bool) or not isinstance(length, int) or length < 1:
        raise ValueError(f"`num_virtual_tokens` must be a whole number of at least 1. Received: {length!r}")
    if config.get("num_transformer_submodules") not in (None, 1):
        raise ValueError(
            "A prompt for an encoder and a decoder is one that we do not have. "
            f"Received: num_transformer_submodules={config['num_transformer_submodules']!r}"
        )
    return {"length": length}


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def lora_config(
    settings: dict[str, Any], targets: Sequence[str], saved: Sequence[str], task: str | None
) -> dict[str, Any]:
    """What PEFT wants to read of a LoRA: `targets` and `saved` are module names, `task` is "SEQ_CLS", ... or None."""
    alpha = settings["alpha"]
    return {
        **_common("LORA", saved, task),
        "r": settings["rank"],
        "lora_alpha": int(alpha) if float(alpha).is_integer() else alpha,
        "lora_dropout": settings["dropout"],
        "use_rslora": settings["rslora"],
        "bias": settings["bias"],
        "target_modules": list(targets),
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "rank_pattern": {},
        "alpha_pattern": {},
    }


def prompt_config(shape: tuple[int, ...], saved: Sequence[str], task: str | None) -> dict[str, Any]:
    """What PEFT wants to read of a soft prompt of that shape, (length, width); `saved` are module names."""
    length, width = shape
    return {
        **_common("PROMPT_TUNING", saved, task),
        "num_virtual_tokens": length,
        "token_dim": width,
        "num_transformer_submodules": 1,
        "prompt_tuning_init": "RANDOM",
    }


def _common(kind: str, saved: Sequence[str], task: str | None) -> dict[str, Any]:
    return {
        "peft_type": kind,
        "task_type": task,
        "base_model_name_or_path": None,
        "revision": None,
        "inference_mode": True,
        "modules_to_save": list(saved) or None,
    }
