"""The door: light to open, everything behind it, and Keras finds our classes whoever was imported first."""

import json
import subprocess
import sys
import textwrap

import pytest

import keras_transfer as kt

HEAVY = (
    "numpy",
    "keras",
    "tensorflow",
    "jax",
    "PIL",
    "pydantic",
    "typer",
    "rich",
    "yaml",
    "sklearn",
    "matplotlib",
    "h5py",
)

NAMES = """
__version__ load_images ImageData build_classifier build_encoder select named_layers freeze unfreeze trainable_report
save load inference_model export_tflite write_report plot_history show_predictions evaluate
load_texts TextData build_text_classifier build_text_encoder
core data backbones tuning peft export config pipeline demo
"""


def run(code: str, *arguments: str) -> str:
    """What a fresh Python prints."""
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def test_import_loads_nothing_heavy():
    loaded = json.loads(run("import keras_transfer, sys, json; print(json.dumps(sorted(sys.modules)))"))
    assert not set(HEAVY) & set(loaded)
    assert [name for name in loaded if name.startswith("keras_transfer.")] == [
        "keras_transfer.core",
        "keras_transfer.core.hook",
        "keras_transfer.core.lazy",
        "keras_transfer.core.rooms",
    ]


def test_contract_names():
    assert set(kt.__all__) >= set(NAMES.split())


@pytest.mark.parametrize("name", kt.__all__)
def test_every_name_of_the_door_is_there(name):
    assert getattr(kt, name) is not None
    assert name in dir(kt)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'load_image'"):
        _ = kt.load_image


def test_a_room_that_is_a_verb_can_be_called_however_it_was_imported(monkeypatch):
    from keras_transfer.evaluate import evaluate

    assert callable(kt.evaluate)
    assert kt.evaluate is sys.modules["keras_transfer.evaluate"]
    assert kt.evaluate.evaluate is evaluate
    monkeypatch.setitem(vars(kt.evaluate), "evaluate", lambda model, data: (model, data))
    assert kt.evaluate("model", data="data") == ("model", "data")


def test_keras_breaks_neither_when_one_of_our_modules_does_nor_silently():
    code = """
        import sys, types, warnings
        from keras_transfer.core import hook
        hook._pending[:] = ["core.files", "core.not_there"]
        keras = types.ModuleType("keras")            # a stand-in: the real one takes eight seconds
        class Finder:
            def find_spec(self, name, path, target=None):
                from importlib.machinery import ModuleSpec
                return ModuleSpec(name, self) if name == "keras" else None
            def create_module(self, spec): return keras
            def exec_module(self, module): module.done = True
        sys.meta_path.insert(1, finder := Finder())
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            import keras as imported
        print(imported.done, imported.__spec__.loader is finder, "keras_transfer.core.files" in sys.modules)
        print(len(found), "core.not_there could not be imported" in str(found[0].message))
        print(any("keras_transfer" in type(f).__module__ for f in sys.meta_path))
    """
    assert run(code).splitlines() == ["True True True", "1 True", "False"]


@pytest.mark.fast(1)
@pytest.mark.parametrize("order", ["keras, keras_transfer", "keras_transfer, keras"])
def test_plain_load_model_finds_our_classes_in_either_order(order, tmp_path):
    import keras

    path = tmp_path / "model.keras"
    inputs = keras.Input((8, 8, 3))
    keras.Model(inputs, kt.backbones.Preprocessing("tf")(inputs)).save(path)
    code = f"""
        import sys, json
        import {order}
        model = keras.models.load_model(sys.argv[1])
        print(type(model.layers[-1]).__module__, keras.__spec__.loader.get_filename("keras") == keras.__file__)
    """
    assert run(code, str(path)).split() == ["keras_transfer.backbones.preprocessing", "True"]
