"""Runs on texts: a table or a folder of them into a classifier of token ids, whose tokenizer travels with it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config import RunConfig
from .opening import check_weights

NOUN = "text"


def resolve(config: RunConfig) -> dict[str, Any]:
    """Nothing more than the config says; a preset that there is not, and files that cannot be read are refused."""
    if config.weights not in ("none", "pretrained"):
        check_weights(Path(config.weights), "pretrained")
    if config.vocabulary is not None and not Path(config.vocabulary).expanduser().is_file():
        raise ValueError(
            f"`vocabulary` must be a file of tokens, one a line, that exists. Received: {config.vocabulary!r}"
        )
    if config.method != "none" and config.strategy != "full":
        raise ValueError(
            f"`method: {config.method}` freezes the encoder itself; leave `strategy` out. Received: {config.strategy!r}"
        )
    from ..backbones.text_catalog import ENCODERS
    from ..backbones.text_encoder import check_name

    check_name(config.backbone, _weights(config), own_words=config.vocabulary is not None)
    if config.backbone in ENCODERS and config.vocabulary is None:
        raise ValueError(
            f"{config.backbone} comes without its tokens; give its vocabulary (--vocabulary FILE, a token a line). "
            "Received: vocabulary=None"
        )
    return {}


def read(config: Mapping[str, Any], show_progress: bool | None = None) -> Any:
    """The texts that a config names, as `TextData`."""
    from ..data import load_texts

    return load_texts(
        config["data"],
        **_columns(config),
        batch_size=config["batch_size"],
        validation_fraction=config["validation_fraction"],
        seed=config["seed"],
        on_bad=config["on_bad"],
    )


def read_for(config: Mapping[str, Any], model: Any) -> Any:
    """The texts as token ids of a model that is there."""
    return ready(read(config), model)


def describe(config: RunConfig, data: Any) -> tuple[str, str]:
    """Pairs or single texts, and the method."""
    method = "" if config.method == "none" else f"{config.method}, "
    return "in pairs" if data.pairs else "", method


def build(config: RunConfig, data: Any) -> Any:
    """`build_text_classifier` for the texts, with the method's adapters in it."""
    from ..backbones import build_text_classifier

    model = build_text_classifier(
        config.backbone,
        len(data.class_names),
        weights=_weights(config),
        vocabulary=config.vocabulary,
        max_length=config.max_length,
        pooling=config.pooling,
    )
    if config.method == "none":
        return model
    from ..peft import inject
    from .named import RANKED

    chosen: dict[str, Any] = {"rank": config.rank, "alpha": 2.0 * config.rank} if config.method in RANKED else {}
    return inject(model, config.method, **chosen)


def train(config: RunConfig, model: Any, data: Any, settings: dict[str, Any]) -> Any:
    """Fit by the strategy, or fit the method's adapters."""
    from ..tuning import tune
    from .named import strategy_of

    fit = strategy_of(str(config.strategy)) if config.method == "none" else tune
    return fit(model, data, **settings)


def ready(data: Any, model: Any) -> Any:
    """The data as the model takes it: token ids."""
    return data.tokenized(model)


def finish(config: RunConfig, model: Any, folder: Path) -> Any:
    """The model to write: LoRA goes into an adapter file of its own, and a method that can goes into the weights."""
    if config.method == "none":
        return model
    from ..peft import merge, save_adapters

    if config.method == "lora":  # the layout has no place for the others; model.keras holds them whole
        save_adapters(model, folder / "adapter")
    if not all(one.can_merge for one in model.injections):
        return model
    model = merge(model)
    model.optimizer.build(model.trainable_variables)  # else the file lacks its state, and Keras warns on loading
    return model


def settings(config: RunConfig) -> dict[str, Any]:
    """Nothing beside what all strategies are told."""
    return {}


def sample(split: Any) -> Callable[[int], Any]:
    """The text at an index; a pair is two paragraphs."""
    return lambda index: as_one(split.text(index))


def reader(run: Path, config: Mapping[str, Any], place: str) -> Callable[[int], Any]:
    """What gives the text of a line of `predictions.csv`; a line that is no more is None, and no line left a `ValueError`."""
    from ..evaluate.predictions import read_predictions

    data = read({**config, "data": place, **_no_columns(place)})
    texts = {name: split.text(index) for split in data.splits.values() for index, name in enumerate(split.names)}
    names = read_predictions(run / "predictions.csv").names
    if not any(name in texts for name in names):
        raise ValueError(
            f"The data must be the texts of the run, in a file of the same name, such as {names[0]!r}. Received: {place!r}"
        )
    return lambda index: as_one(texts[names[index]]) if names[index] in texts else None


def labelled(
    config: Mapping[str, Any], model: Any, data: str | Path, names: Sequence[str], on_bad: str, show: bool | None
) -> tuple[str, Any, Sequence[tuple[str, str]]]:
    """Texts with the classes of the run, as token ids."""
    from ..data.labelled_texts import load_labelled_texts

    columns = _columns({**config, **_no_columns(data)})
    split, texts, skipped = load_labelled_texts(data, names, **columns, on_bad=on_bad)
    return split, texts.for_model(model), skipped


def as_one(text: str | tuple[str, str]) -> str:
    """A text, or a pair as two paragraphs."""
    return text if isinstance(text, str) else "\n".join(text)


def _weights(config: RunConfig) -> str | None:
    return None if config.weights == "none" else config.weights


def _columns(config: Mapping[str, Any]) -> dict[str, Any]:
    """Columns as `load_texts` takes them, a number stands for its place, and what separates them."""
    columns = [_column(one) for one in config.get("text_columns") or ()]
    label = config.get("label_column")
    label = None if label is None else _column(label)
    return {"text_columns": columns or None, "label_column": label, "delimiter": config.get("delimiter")}


def _no_columns(data: str | Path) -> dict[str, Any]:
    """What a run knows of its table says nothing of a folder of .txt files."""
    from ..data.text_rows import has_columns

    return {} if has_columns(data) else {"text_columns": (), "label_column": None, "delimiter": None}


def _column(name: str) -> str | int:
    return int(name) if name.isdecimal() else name
