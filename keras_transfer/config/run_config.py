"""The settings of one run: a field is an option of `keras-transfer fit` and a key of its YAML file, under one name."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from .tasks import as_delimiter, check_backbone, resolve


class RunConfig(BaseModel):
    """What `keras-transfer fit` does, each choice with its default."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    data: str = Field(
        description="Folder of pictures: one sub-folder a class, or train/, val/ and test/ with those. Texts: a .tsv, .csv or "
        ".jsonl file, or a folder of such or of .txt files."
    )
    task: Literal["images", "text"] | None = Field(
        None, description="What the data are; by default text for a .tsv, .csv or .jsonl file, else images."
    )
    output: str | None = Field(None, description="Folder of the run; by default saved_models/<name of the data>.")
    backbone: str = Field(
        "mobilenet_v2",
        description="Pretrained network to start from (keras-transfer list --backbones), or hub:PRESET of keras-hub, or "
        "hub:FOLDER. Of texts: a PRESET or FOLDER of keras-hub, by default bert_small_en_uncased, or a name such as "
        "minilm_l6 with --weights and --vocabulary.",
    )
    weights: str = Field(
        "imagenet",
        description="imagenet (downloaded once; of texts pretrained, the preset's own), a local weights file, or none.",
    )
    image_size: int | None = Field(
        None, ge=16, le=2048, description="Height and width in pixels; by default the backbone's own."
    )
    text_columns: tuple[str, ...] = Field(
        (),
        max_length=2,
        description="Column of the texts, by name or number; given twice: pairs of texts. Found where the first "
        "line calls it text, sentence, review or the like.",
    )
    label_column: str | None = Field(
        None, description="Column of the labels, by name or number; found where called label, class or the like."
    )
    delimiter: str | None = Field(
        None, description="What separates the columns of a table that is not what it ends in, such as ';' or tab."
    )
    max_length: int | None = Field(
        None, ge=3, description="Tokens that are kept of a text; by default 128, or what the encoder has room for."
    )
    pooling: Literal["pooled", "cls", "mean", "max"] | None = Field(
        None, description="How tokens become one vector; by default the encoder's own way."
    )
    vocabulary: str | None = Field(None, description="File of WordPiece tokens, one a line, of an encoder by name.")
    method: Literal["none", "lora", "dora", "houlsby", "pfeiffer", "prefix", "prompt", "ia3", "bitfit"] = Field(
        "none", description="Freeze the encoder and train a few new weights in it, beside the head."
    )
    rank: int = Field(8, ge=1, description="Of --method lora and dora.")
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
        "progressive; full for texts, and without weights.",
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
        description="Passes over the data, at most, in each stage behind the head; by default 10, 20 where there is one "
        "stage only, and 3 for all of a text encoder.",
    )
    head_epochs: int = Field(
        10, ge=1, description="The same for the head's stage, of progressive, partial and layerwise."
    )
    learning_rate: float | None = Field(
        None,
        gt=0,
        description="Step of Adam; by default the strategy's own. progressive and partial take it for the head, a tenth "
        "and a hundredth of it for the stages behind; a method for its weights, while the head keeps its own.",
    )
    loss: Literal["crossentropy", "focal"] = Field(
        "crossentropy", description="focal: pictures that are right already count less."
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="balanced: rare classes count as much as frequent ones."
    )
    batch_size: int = Field(32, ge=1, description="Pictures or texts a step.")
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

    @field_validator("export", "text_columns", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        """One of them, or a list as YAML has it."""
        return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value

    @field_validator("text_columns", "label_column", mode="before")
    @classmethod
    def _columns(cls, value: Any) -> Any:
        """YAML reads the number of a column as one; here it stands as the text that the command line gives."""
        if isinstance(value, (list, tuple)):
            return tuple(map(cls._columns, value))
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("delimiter", mode="before")
    @classmethod
    def _one_character(cls, value: Any) -> Any:
        """A tab is hard to type in a shell."""
        return as_delimiter(value) if isinstance(value, str) else value

    @field_validator("channels")
    @classmethod
    def _grey_colour_or_four(cls, value: int) -> int:
        if value not in (1, 3, 4):
            raise ValueError(f"`channels` must be 1 (grey), 3 (colour) or 4 (RGBA). Received: {value!r}")
        return value

    @model_validator(mode="before")
    @classmethod
    def _resolve(cls, values: dict[str, Any]) -> dict[str, Any]:
        """What the task, the weights and the strategy decide where nothing was said."""
        return resolve(values, {name: field.default for name, field in cls.model_fields.items()})

    @model_validator(mode="after")
    def _known(self) -> Self:
        """A backbone that the catalogue does not know is named before anything is read."""
        check_backbone(str(self.task), str(self.backbone))
        return self
