"""The settings of a run: defaults, the YAML file there and back, and a sentence for whatever does not fit."""

import re

import pydantic
import pytest
import yaml

from keras_transfer.config import RESOLVED_BY, RunConfig, make_config, read_config, versions, write_config
from keras_transfer.core.files import sha256

DEFAULTS = {
    "task": "images",
    "output": None,
    "backbone": "mobilenet_v2",
    "weights": "imagenet",
    "image_size": None,
    "text_columns": (),
    "label_column": None,
    "delimiter": None,
    "max_length": None,
    "pooling": None,
    "vocabulary": None,
    "method": "none",
    "rank": 8,
    "channels": 3,
    "resize": "squash",
    "validation_fraction": 0.2,
    "strategy": "progressive",
    "augmentation": "light",
    "mix": "none",
    "views": 4,
    "epochs": 10,
    "head_epochs": 10,
    "learning_rate": None,
    "loss": "crossentropy",
    "class_weights": "none",
    "batch_size": 32,
    "patience": 5,
    "keep": "best",
    "seed": 0,
    "mixed_precision": False,
    "export": ("float32",),
    "on_bad": "raise",
    "min_accuracy": None,
    "resume": False,
    "overwrite": False,
    "quiet": False,
}


def test_contract_keys_and_defaults():
    assert dict(make_config({"data": "photos"})) == {"data": "photos", **DEFAULTS}


def test_a_table_is_of_texts_and_a_folder_of_pictures():
    text = make_config({"data": "reviews.tsv.gz"})
    assert (text.task, text.backbone, text.weights) == ("text", "bert_small_en_uncased", "pretrained")
    assert (text.strategy, text.epochs) == ("full", 3)
    assert make_config({"data": "reviews", "task": "text"}).task == "text"
    assert make_config({"data": "reviews.tsv", "backbone": "minilm_l6", "weights": "m.h5"}).weights == "m.h5"
    assert make_config({"data": "reviews.tsv", "weights": None}).strategy == "full"
    again = make_config(dict(make_config({"data": "photos"})))
    assert again == make_config({"data": "photos"})
    assert make_config(dict(text)) == text


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"data": "photos", "max_length": 32}, "`max_length` is for texts; leave it out, or give `task: text`."),
        ({"data": "photos", "method": "lora"}, "`method` is for texts"),
        ({"data": "photos", "delimiter": ";"}, "`delimiter` is for texts"),
        ({"data": "r.csv", "delimiter": ";;"}, "`delimiter` must be one character, or 'tab'. Received: ';;'"),
        ({"data": "r.tsv", "resize": "crop"}, "`resize` is for pictures; leave it out, or give `task: images`."),
        ({"data": "r.tsv", "image_size": 64}, "Received: image_size=64 for texts"),
        ({"data": "r.tsv", "task": "audio"}, "`task` must be one of 'images', 'text', or null. Received: 'audio'"),
    ],
)
def test_a_setting_of_another_task_is_refused(values, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        make_config(values)


def test_columns_may_be_numbers_as_yaml_has_them():
    found = make_config({"data": "reviews.ndjson", "text_columns": [0, "b"], "label_column": 2})
    assert (found.task, found.text_columns, found.label_column) == ("text", ("0", "b"), "2")
    with pytest.raises(ValueError, match="`label_column` must be a text"):
        make_config({"data": "reviews.tsv", "label_column": True})


@pytest.mark.parametrize(("given", "found"), [(";", ";"), ("tab", "\t"), ("\\t", "\t"), ("\t", "\t"), (None, None)])
def test_a_delimiter_is_one_character_and_survives_its_file(given, found, tmp_path):
    config = make_config({"data": "reviews.csv", "delimiter": given})
    assert config.delimiter == found
    assert read_config(write_config(tmp_path / "c.yaml", config)).delimiter == found


def test_a_method_needs_weights():
    with pytest.raises(ValueError, match="nothing for a method to build on"):
        make_config({"data": "reviews.tsv", "weights": "none", "method": "lora"})


def test_without_weights_everything_trains():
    assert make_config({"data": "photos", "weights": "none"}).strategy == "full"
    assert make_config({"data": "photos", "weights": None}).weights == "none"
    assert make_config({"data": "photos", "weights": "none", "strategy": "full"}).strategy == "full"


@pytest.mark.parametrize(
    ("strategy", "epochs"),
    [("progressive", 10), ("partial", 10), ("layerwise", 10), ("feature_extraction", 20), ("full", 20)],
)
def test_epochs_are_those_of_the_strategy(strategy, epochs):
    assert make_config({"data": "photos", "strategy": strategy}).epochs == epochs
    assert make_config({"data": "photos", "strategy": strategy, "epochs": 3}).epochs == 3


def test_it_is_frozen():
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        make_config({"data": "photos"}).epochs = 3


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"epoch": 3}, "Unknown key. Did you mean 'epochs'"),
        ({"image-size": 96}, "Did you mean 'image_size'"),
        ({"epochs": "many"}, "`epochs` must be a whole number of at least 1, or null. Received: 'many' (str)"),
        ({"epochs": 0}, "`epochs` must be a whole number of at least 1, or null. Received: 0 (int)"),
        ({"epochs": True}, "Received: True (bool)"),
        ({"epochs": 2.5}, "Received: 2.5 (float)"),
        ({"image_size": 8}, "a whole number of at least 16 and at most 2048, or null"),
        ({"channels": 2}, "`channels` must be 1 (grey), 3 (colour) or 4 (RGBA). Received: 2"),
        ({"resize": "stretch"}, "`resize` must be one of 'squash', 'crop', 'pad'. Received: 'stretch' (str)"),
        ({"validation_fraction": 1.0}, "a number above 0 and below 1. Received: 1.0"),
        ({"min_accuracy": 95}, "`min_accuracy` must be a number of at least 0 and at most 1, or null. Received: 95"),
        ({"min_accuracy": float("nan")}, "Received: nan"),
        ({"learning_rate": float("inf")}, "`learning_rate` must be a number above 0"),
        ({"learning_rate": "fast"}, "Received: 'fast' (str)"),
        ({"quiet": "yes"}, "`quiet` must be true or false. Received: 'yes' (str)"),
        (
            {"export": ["float32", "int1"]},
            "`export` must be a list of 'float32', 'float16', 'dynamic', 'int8'. Received: 'int1' (str)",
        ),
        ({"export": []}, "`export` must be a list of 'float32'"),
        ({"data": 3}, "`data` must be a text. Received: 3 (int)"),
        ({"data": None}, "`data` must be a text. Received: None"),
        (
            {"strategy": ["full"]},
            "`strategy` must be one of 'progressive', 'partial', 'layerwise', 'feature_extraction', 'full', ",
        ),
        ({"backbone": "mobilnet_v2"}, "Unknown backbone. Did you mean 'mobilenet_v2'"),
        ({"weights": "none", "strategy": "feature_extraction"}, "leaves nothing to build on"),
    ],
)
def test_bad_input_is_one_sentence(given, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)) as caught:
        make_config({"data": "photos", **given})
    assert "\n" not in str(caught.value)
    assert "Received: " in str(caught.value)


def test_data_is_needed():
    with pytest.raises(ValueError, match="`data` is needed: Folder of pictures"):
        make_config({})


def test_a_written_file_reads_back_and_says_what_made_it(tmp_path):
    weights = tmp_path / "some.weights.h5"
    weights.write_bytes(b"weights")
    given = {"data": "fotos/größe", "weights": str(weights), "learning_rate": 1e-4, "export": ["float32"], "seed": 7}
    config = make_config(given)
    path = write_config(tmp_path / "config.yaml", config, {"parameters": 5})
    assert read_config(path) == config
    stored = yaml.safe_load(path.read_text(encoding="utf-8"))
    made_with = stored.pop(RESOLVED_BY)
    assert list(stored) == list(RunConfig.model_fields)
    assert made_with == {"versions": versions(), "weights_sha256": sha256(weights), "parameters": 5}
    assert versions().keys() >= {"python", "keras-transfer", "tensorflow", "keras", "numpy"}


def test_the_path_that_the_pipeline_resolved_is_written_as_text(tmp_path):
    config = make_config({"data": "photos"}).model_copy(update={"output": tmp_path / "run"})
    assert read_config(write_config(tmp_path / "config.yaml", config)).output == str(tmp_path / "run")


def test_options_given_win_over_the_file(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("data: photos\nepochs: 3\nlearning_rate: 1e-3\nexport: float32\n")
    config = read_config(path, {"epochs": 4, "weights": "none"})
    assert (config.data, config.epochs, config.learning_rate, config.strategy) == ("photos", 4, 1e-3, "full")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("data: [", "Settings must be YAML, `key: value` a line (line 2)"),
        ("- data", "Settings must be `key: value` lines"),
        ("photos", "Settings must be `key: value` lines"),
        (
            "data: photos\nepochs: soon",
            "`epochs` must be a whole number of at least 1, or null. Received: 'soon' (str)",
        ),
        ("data: photos\n3: 4", "Unknown key."),
        ("data: !!python/object/apply:os.system [ls]", "Settings must be YAML"),
        ("\xff\xfe", "Settings must be"),
    ],
)
def test_a_bad_file_is_named(tmp_path, text, sentence):
    path = tmp_path / "settings.yaml"
    path.write_text(text + "\n", encoding="latin-1")
    with pytest.raises(ValueError, match=re.escape(sentence)) as caught:
        read_config(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="settings must exist"):
        read_config(tmp_path / "none.yaml")
