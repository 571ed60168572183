"""What a run can be about, pictures or texts: the choices that differ, and what is taken where nothing is said."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..backbones.catalog import entry

# How many stages of training each strategy has; 0: solved exactly on the frozen features.
STAGES = {"progressive": 3, "partial": 2, "layerwise": 2, "feature_extraction": 1, "full": 1}
STAGES |= {"linear_probe": 0, "nearest_mean": 0}
EPOCHS, STAGE_EPOCHS = 20, 10  # by default, where there is one stage, and in each of several
TEXT_EPOCHS = 3  # in each stage that fine-tunes an encoder of texts
TEXT_FILES = tuple(ending + packed for packed in ("", ".gz") for ending in (".tsv", ".csv", ".jsonl", ".ndjson"))


class Task(NamedTuple):
    """A task: what a sample is called, what is taken where nothing is said, and the settings that it alone has."""

    noun: str
    backbone: str
    weights: str
    strategy: str
    batch_size: int
    only: tuple[str, ...]


TASKS = {
    "images": Task(
        "picture",
        backbone="mobilenet_v2",
        weights="imagenet",
        strategy="progressive",
        batch_size=32,
        only=("image_size", "channels", "resize", "augmentation", "mix", "views"),
    ),
    "text": Task(
        "text",
        backbone="bert_small_en_uncased",
        weights="pretrained",
        strategy="full",
        batch_size=32,
        only=("text_columns", "label_column", "delimiter", "max_length", "pooling", "vocabulary", "method", "rank"),
    ),
}


def task_of(data: Any) -> str:
    """Texts where `data` names a table of them, else pictures."""
    return "text" if isinstance(data, str) and data.lower().endswith(TEXT_FILES) else "images"


def resolve(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The values with what the task, the weights and the strategy decide where nothing was said.

    Without pretrained weights everything trains; a frozen random backbone has no features to build on. A setting of
    another task is a `ValueError`.
    """
    name = values.get("task") or task_of(values.get("data"))
    if not isinstance(name, str) or name not in TASKS:  # the field's own check names it
        return dict(values)
    task = TASKS[name]
    for other, its in TASKS.items():
        for key in its.only if other != name else ():
            given = values.get(key)
            if given is not None and given != defaults[key] and given != []:  # a list is how YAML writes ()
                raise ValueError(
                    f"`{key}` is for {its.noun}s; leave it out, or give `task: {other}`. Received: {key}={given!r} "
                    f"for {task.noun}s"
                )
    weights = values.get("weights", task.weights)
    weights = "none" if weights is None else weights
    scratch, strategy = weights == "none", values.get("strategy")
    if scratch and isinstance(strategy, str) and strategy in STAGES and strategy != "full":
        raise ValueError(
            "`weights: none` leaves nothing to build on; give weights, or take `strategy: full`. "
            f"Received: strategy={strategy!r}"
        )
    if scratch and name == "text" and values.get("method") not in (None, "none"):
        raise ValueError(
            "`weights: none` leaves nothing for a method to build on; give weights, or leave `method` out. "
            f"Received: method={values['method']!r}"
        )
    strategy = strategy or ("full" if scratch else task.strategy)
    chosen = {"task": name, "backbone": task.backbone, "strategy": strategy, **_epochs(name, strategy, scratch)}
    found = {**values, "weights": weights}
    return {**found, **{key: value for key, value in chosen.items() if found.get(key) is None}}


def as_delimiter(value: str) -> str:
    """The character that a person means: `tab`, and what a shell leaves of one, stand for it."""
    found = {"tab": "\t", "\\t": "\t"}.get(value, value)
    if len(found) != 1:
        raise ValueError(f"`delimiter` must be one character, or 'tab'. Received: {value!r}")
    return found


def check_backbone(task: str, name: str) -> None:
    """A `ValueError` for a name that the catalogue of pictures does not know; presets of texts are told by keras-hub."""
    if task == "images":
        entry(name)


def _epochs(task: str, strategy: Any, scratch: bool) -> dict[str, int]:
    """Passes over the data where nothing is said: few over texts, whose encoders move fast."""
    several = isinstance(strategy, str) and STAGES.get(strategy, 1) > 1  # what is no text is for the field's own check
    if task == "text" and (several or (strategy == "full" and not scratch)):
        return {"epochs": TEXT_EPOCHS, "head_epochs": TEXT_EPOCHS}
    return {"epochs": STAGE_EPOCHS if several else EPOCHS}
