"""`adapter_config.json`: what PEFT writes comes back in our words, and what we cannot do alike is refused by name."""

import json

import pytest

from keras_transfer.peft.hf_config import lora_config, prompt_config, read_config

LORA = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["query"]}


def written(tmp_path, config):
    (tmp_path / "adapter_config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return tmp_path


def test_a_lora_in_our_words(tmp_path):
    config = LORA | {
        "lora_dropout": 0.1,
        "use_rslora": True,
        "bias": "lora_only",
        "task_type": "SEQ_CLS",
        "revision": None,
    }
    assert read_config(written(tmp_path, config)) == (
        "lora",
        {"rank": 4, "alpha": 8.0, "dropout": 0.1, "rslora": True, "bias": "lora_only"},
    )


def test_defaults_are_pefts(tmp_path):
    assert read_config(written(tmp_path, {"peft_type": "LORA"}))[1] == {
        "rank": 8, "alpha": 8.0, "dropout": 0.0, "rslora": False, "bias": "none",
    }  # fmt: skip


def test_our_configs_come_back(tmp_path):
    settings = {"rank": 3, "alpha": 1.5, "dropout": 0.2, "rslora": False, "bias": "all"}
    config = lora_config(settings, ["query"], ["classifier"], "SEQ_CLS")
    assert read_config(written(tmp_path, config)) == ("lora", settings)
    assert config["modules_to_save"] == ["classifier"]
    assert read_config(written(tmp_path, prompt_config((5, 16), [], None))) == ("prompt", {"length": 5})


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"peft_type": "IA3"}, r"hold LoRA or prompt tuning\. .* Received: peft_type='IA3' in '.*adapter_config.json'"),
        ({"peft_type": ["LORA"]}, r"Received: peft_type=\['LORA'\] in "),
        ({"use_rslora": "false"}, r"`use_rslora` must be true or false\. Received: 'false' in "),
        ({"use_dora": True}, r"uses 'use_dora', which we do not have; .* Received: use_dora=True"),
        ({"rank_pattern": {"query": 2}}, r"uses 'rank_pattern'"),
        ({"something_new": "on"}, r"uses 'something_new'"),
        ({"init_lora_weights": "pissa"}, r"changes the base's weights, .* Received: init_lora_weights='pissa' in "),
        ({"r": 0}, r"`r` must be a whole number of at least 1\. Received: 0 in "),
        ({"r": True}, r"`r` must be a whole number"),
        ({"lora_alpha": -1}, r"`lora_alpha` must be a positive number\. Received: -1"),
        ({"lora_alpha": "8"}, r"`lora_alpha` must be a positive number\. Received: '8'"),
        ({"lora_dropout": 1.0}, r"`lora_dropout` must be in \[0, 1\)\. Received: 1.0"),
        ({"bias": "some"}, r"`bias` must be 'none', 'all' or 'lora_only'\. Received: 'some'"),
        ({"peft_type": "PROMPT_TUNING"}, r"`num_virtual_tokens` must be a whole number of at least 1\. Received: None"),
    ],
)
def test_what_is_refused(tmp_path, change, match):
    known = LORA if change.get("peft_type", "LORA") == "LORA" else {}
    with pytest.raises(ValueError, match=match):
        read_config(written(tmp_path, known | change))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", r"must be JSON \(.*\)\. Received: "),
        ("[" * 100000, r"must be JSON"),
        ("[1]", r"must be a JSON object\. Received: list in "),
        (" " * (1 << 21), r"must be a few lines of JSON\. Received: 2,097,152 bytes"),
    ],
)
def test_what_is_no_config(tmp_path, text, match):
    with pytest.raises(ValueError, match=match):
        read_config(written(tmp_path, text))


def test_a_folder_without_one(tmp_path):
    with pytest.raises(ValueError, match=r"must hold adapter_config\.json\. Received: '"):
        read_config(tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    file.touch()
    with pytest.raises(ValueError, match="give the folder, not a file in it"):
        read_config(file)
