"""The settings of one run: a field is an option of `keras-transfer fit` and a key of its YAML file, under one name."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo

from .backbones.catalog import entry
from .core.files import atomic_write, sha256
from .core.messages import nearest

RESOLVED_BY = "resolved_by"  # the key under which a written file says what made it; passed over on reading
# How many stages of training each strategy has; 0: solved exactly on the frozen features.
STAGES = {"progressive": 3, "partial": 2, "layerwise": 2, "feature_extraction": 1, "full": 1}
STAGES |= {"linear_probe": 0, "nearest_mean": 0}
EPOCHS, STAGE_EPOCHS = 20, 10  # by default, where there is one stage, and in each of several
PACKAGES = ("keras-transfer", "tensorflow", "keras", "ai-edge-litert", "numpy", "pillow")


class RunConfig(BaseModel):
    """What `keras-transfer fit` does, each choice with its default."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    data: str = Field(description="Folder of pictures: one sub-folder a class, or train/, val/ and test/ with those.")
    output: str | None = Field(None, description="Folder of the run; by default saved_models/<name of the data>.")
    backbone: str = Field(
        "mobilenet_v2",
        description="Pretrained network to start from (keras-transfer list --backbones), or hub:PRESET of keras-hub, or hub:FOLDER.",
    )
    weights: str = Field("imagenet", description="imagenet (downloaded once), a local weights file, or none.")
    image_size: int | None = Field(
        None, ge=16, le=2048, description="Height and width in pixels; by default the backbone's own."
    )
    channels: int = Field(3, description="3 (colour), 1 (grey) or 4 (RGBA); pretrained colour weights take all three.")
    resize: Literal["squash", "crop", "pad"] = Field("squash", description="How a picture becomes a square.")
    validation_fraction: float = Field(
        0.2, gt=0, lt=1, description="Share of each class held out where the data has no val/."
    )
    strategy: (
        Literal["progressive", "partial", "layerwise", "feature_extraction", "full", "linear_probe", "nearest_mean"]
        | None
    ) = Field(
        None,
        description="progressive: the head, then the top third of the blocks, then all of them; partial: without the last; "
        "layerwise: the head, then all at rates that fall towards the input; feature_extraction: the head alone; full: "
        "everything at once; linear_probe, nearest_mean: solved exactly on the frozen features, in seconds. By default "
        "progressive, full without weights.",
    )
    augmentation: Literal["none", "light", "medium", "strong"] = Field(
        "light", description="Random changes to the training pictures."
    )
    mix: Literal["none", "mixup", "cutmix"] = Field(
        "none",
        description="Mix pairs of training pictures anew in every batch, which turns the cache of frozen features off.",
    )
    views: int = Field(
        4, ge=1, description="Versions of a picture whose features are cached: itself, the others random."
    )
    epochs: int | None = Field(
        None,
        ge=1,
        description="Passes over the data, at most, in each stage behind the head; by default 10, and 20 where there is one "
        "stage only.",
    )
    head_epochs: int = Field(
        10, ge=1, description="The same for the head's stage, of progressive, partial and layerwise."
    )
    learning_rate: float | None = Field(
        None,
        gt=0,
        description="Step of Adam; by default the strategy's own. progressive and partial take it for the head, a tenth "
        "and a hundredth of it for the stages behind.",
    )
    loss: Literal["crossentropy", "focal"] = Field(
        "crossentropy", description="focal: pictures that are right already count less."
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="balanced: rare classes count as much as frequent ones."
    )
    batch_size: int = Field(32, ge=1, description="Pictures a step.")
    patience: int = Field(
        5,
        ge=1,
        description="With --keep best: end a stage after so many epochs without a better validation accuracy (of equal ones "
        "the lower loss is better).",
    )
    keep: Literal["best", "last"] = Field("best", description="Keep the epoch best in validation, or the last.")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="Of split, order, augmentation and new weights.")
    mixed_precision: bool = Field(False, description="Compute in 16 bits; the exported model is the float32 one.")
    export: tuple[Literal["float32", "float16", "dynamic", "int8"], ...] = Field(
        ("float32",), min_length=1, description="Number format of the exported .tflite; may be given several times."
    )
    on_bad: Literal["raise", "skip"] = Field("raise", description="Stop at bad pictures, or skip and name them.")
    min_accuracy: float | None = Field(None, ge=0, le=1, description="Exit with 1 when the held-out accuracy is lower.")
    resume: bool = Field(False, description="Go on with the run of the same settings that was interrupted.")
    overwrite: bool = Field(False, description="Replace an output folder that exists.")
    quiet: bool = Field(False, description="Print nothing but errors.")

    @field_validator("learning_rate", "validation_fraction", "min_accuracy", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        """YAML reads `1e-3` as text, because it wants `1.0e-3`; people mean the number."""
        try:
            return float(value) if isinstance(value, str) else value
        except ValueError:
            return value

    @field_validator("export", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        """One number format, or a list of them as YAML has it."""
        return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value

    @field_validator("weights", mode="before")
    @classmethod
    def _no_weights(cls, value: Any) -> Any:
        return "none" if value is None else value

    @field_validator("channels")
    @classmethod
    def _grey_colour_or_four(cls, value: int) -> int:
        if value not in (1, 3, 4):
            raise ValueError(f"`channels` must be 1 (grey), 3 (colour) or 4 (RGBA). Received: {value!r}")
        return value

    @field_validator("backbone")
    @classmethod
    def _known(cls, value: str) -> str:
        entry(value)
        return value

    @model_validator(mode="before")
    @classmethod
    def _strategy(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Without pretrained weights everything trains; a frozen random backbone has no features to build on."""
        scratch = values.get("weights", "imagenet") in (None, "none")
        strategy = values.get("strategy")
        if scratch and isinstance(strategy, str) and strategy in STAGES and strategy != "full":
            raise ValueError(
                "`weights: none` leaves nothing to build on; give weights, or take `strategy: full`. "
                f"Received: strategy={strategy!r}"
            )
        strategy = strategy or ("full" if scratch else "progressive")
        # an unhashable value is for the field's own check to name
        epochs = STAGE_EPOCHS if isinstance(strategy, str) and STAGES.get(strategy, 1) > 1 else EPOCHS
        chosen = {"strategy": strategy, "epochs": epochs}
        return {**values, **{name: value for name, value in chosen.items() if values.get(name) is None}}


def make_config(values: Mapping[str, Any]) -> RunConfig:
    """A `RunConfig`, or a `ValueError` in one sentence that names the first key that does not fit."""
    for key in values:
        if key not in RunConfig.model_fields:
            raise ValueError(f"Unknown key. {nearest(str(key), RunConfig.model_fields)} Received: {key!r}")
    try:
        return RunConfig(**values)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "value_error":
            raise ValueError(str(first["ctx"]["error"])) from None
        key = str(first["loc"][0])
        if first["type"] == "missing":
            raise ValueError(f"`{key}` is needed: {RunConfig.model_fields[key].description}") from None
        raise ValueError(
            f"`{key}` must be {_expected(RunConfig.model_fields[key])}. "
            f"Received: {first['input']!r} ({type(first['input']).__name__})"
        ) from None


def read_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """Read a YAML file of settings; `overrides` (the options given on the command line) win over it."""
    import yaml

    if not Path(path).is_file():
        raise FileNotFoundError(f"The file of settings must exist. Received: {str(path)!r}")
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" (line {where.line + 1})" if where else ""
        raise ValueError(f"Settings must be YAML, `key: value` a line{line}. Received: {str(path)!r}") from None
    values = {} if values is None else values
    if not isinstance(values, dict):
        found = type(values).__name__
        raise ValueError(f"Settings must be `key: value` lines. Received: {str(path)!r} with a {found}")
    values.pop(RESOLVED_BY, None)
    try:
        return make_config({**values, **(overrides or {})})
    except ValueError as error:
        raise ValueError(f"{error} (settings in {path})") from None


def write_config(path: str | Path, config: RunConfig, extra: Mapping[str, Any] | None = None) -> Path:
    """Write every setting, resolved, so that `fit --config` can read it again; below them what the run was made with.

    That is the versions of the packages, the hash of a local weights file, and `extra`, all under `resolved_by`.
    """
    import yaml

    made_with: dict[str, Any] = {"versions": versions()}
    if Path(config.weights).is_file():
        made_with["weights_sha256"] = sha256(config.weights)
    made_with.update(extra or {})
    text = "# The settings of this run, all of them.\n"
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in config}
    text += yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    text += yaml.safe_dump({RESOLVED_BY: made_with}, sort_keys=False, allow_unicode=True)
    return atomic_write(path, text)


def versions() -> dict[str, str]:
    """The installed versions of the packages that a result depends on, and of Python."""
    import platform

    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _expected(field: FieldInfo) -> str:
    """In words what a field takes: `a whole number of at least 1`."""
    kinds = get_args(field.annotation) if get_origin(field.annotation) in (UnionType, Union) else (field.annotation,)
    kind = next(kind for kind in kinds if kind is not NoneType)
    several = get_origin(kind) is tuple
    kind = get_args(kind)[0] if several else kind
    if get_origin(kind) is Literal:
        text = ("a list of " if several else "one of ") + ", ".join(repr(choice) for choice in get_args(kind))
    else:
        text = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}[kind]
    words = {"ge": "of at least", "gt": "above", "le": "at most", "lt": "below"}
    found = [
        (word, getattr(limit, name)) for limit in field.metadata for name, word in words.items() if hasattr(limit, name)
    ]
    limits = [f"{word} {value}" for word, value in found]
    return " ".join([text, " and ".join(limits)]).strip() + (", or null" if NoneType in kinds else "")
