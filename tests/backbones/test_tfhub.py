"""Modules of the TensorFlow Hub as layers: frozen and trained, in files and exports, and what a file may not bring along."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_transfer.backbones import TFHubLayer, build_classifier, module_folder, trust_module
from keras_transfer.backbones.module_folder import fetch_module, kaggle_handle, module_hash
from keras_transfer.backbones.module_safety import forbidden_operations
from keras_transfer.export import export_tflite

WORDS = ["the", "film", "good", "bad"]
TEXTS = np.array(["the film", "bad bad film", "good", "unheard of"], dtype=object)
LABELS = np.array([0, 1, 0, 1])


class Words(tf.Module):
    """The sum of the vectors of a text's words; an unknown word has the last."""

    def __init__(self, vocabulary):
        super().__init__()
        start = tf.lookup.TextFileInitializer(
            str(vocabulary),
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        self.table = tf.lookup.StaticVocabularyTable(start, 1)
        self.embeddings = tf.Variable(np.random.default_rng(0).normal(size=(5, 3)).astype("float32"), name="embeddings")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, texts):
        words = tf.strings.split(texts)
        vectors = tf.gather(self.embeddings, self.table.lookup(words.flat_values))
        return tf.reduce_sum(tf.RaggedTensor.from_row_splits(vectors, words.row_splits), 1)


class Pictures(tf.Module):
    """Two outputs of a picture; in training mode a moving mean moves."""

    def __init__(self):
        super().__init__()
        self.kernel = tf.Variable(np.random.default_rng(1).normal(size=(3, 4)).astype("float32"), name="kernel")
        self.mean = tf.Variable(tf.zeros(4), trainable=False, name="mean")

    @tf.function
    def __call__(self, pictures, training=False):
        x = tf.einsum("bhwc,cd->bhwd", pictures, self.kernel)
        if training:
            self.mean.assign_add(0.1 * tf.reduce_mean(x, [0, 1, 2]))
        x = x - self.mean
        return {"map": x, "features": tf.reduce_mean(x, [1, 2])}


def saved(module, folder):
    """As the hub's format wants it: a module with its `variables` and `trainable_variables` listed."""
    top = tf.train.Checkpoint(module=module)
    top.__call__ = module.__call__
    top.variables, top.trainable_variables = list(module.variables), list(module.trainable_variables)
    top.regularization_losses = []
    tf.saved_model.save(top, str(folder))
    return folder


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    (folder / "vocabulary.txt").write_text("\n".join(WORDS))
    return saved(Words(folder / "vocabulary.txt"), folder / "module")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    module = Pictures()
    for training in (True, False):
        module.__call__.get_concrete_function(tf.TensorSpec([None, 8, 8, 3]), training=training)
    return saved(module, tmp_path_factory.mktemp("pictures") / "module")


@pytest.fixture
def elsewhere(monkeypatch):
    """As in another process, which never opened a module."""

    def forget():
        monkeypatch.setattr(module_folder, "_known", {})

    return forget


def classifier(folder, trainable=False, **kwargs):
    keras.utils.set_random_seed(3)
    inputs = keras.Input((), dtype="string")
    features = TFHubLayer(folder, trainable=trainable, name="hub", **kwargs)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, name="head")(features))
    model.compile(keras.optimizers.Adam(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def answer(model, x=TEXTS):
    return np.asarray(model(tf.constant(list(x)) if x is TEXTS else x))


def fit(model, epochs=2):
    model.fit(tf.constant(list(TEXTS)), LABELS, epochs=epochs, verbose=0, shuffle=False)
    return model


def packed(folder, path, inside=""):
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, arcname=inside or ".")
    return path


def test_it_gives_what_the_module_gives(texts, tmp_path):
    vectors = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    rows = [[WORDS.index(word) if word in WORDS else 4 for word in text.split()] for text in TEXTS]
    expected = np.stack([vectors[row].sum(0) for row in rows])
    for source in (
        texts,
        str(texts),
        packed(texts, tmp_path / "a.tar.gz"),
        packed(texts, tmp_path / "b.tgz", "inside"),
    ):
        layer = TFHubLayer(source)
        np.testing.assert_allclose(answer(layer), expected, atol=1e-5)
        assert layer(keras.Input((), dtype="string")).shape == (None, 3)
    assert not layer.trainable_variables


def test_frozen_stays_and_trainable_learns(texts):
    for trainable in (False, True):
        model = classifier(texts, trainable)
        before = model.get_layer("hub").get_weights()[0].copy()
        start = answer(model)
        losses = model.fit(tf.constant(list(TEXTS)), LABELS, epochs=30, verbose=0).history["loss"]
        moved = np.abs(model.get_layer("hub").get_weights()[0] - before).max()
        assert (moved > 0.01) == trainable
        assert losses[-1] < losses[0] / (10 if trainable else 1)
        assert np.abs(answer(model) - start).max() > 0
    model.get_layer("hub").trainable = False
    assert len(model.trainable_variables) == 2


def test_trainable_later(texts):
    model = classifier(texts)
    model.get_layer("hub").trainable = True
    model.compile("sgd", model.loss)
    before = model.get_layer("hub").get_weights()[0].copy()
    assert np.abs(fit(model).get_layer("hub").get_weights()[0] - before).max() > 0


@pytest.mark.parametrize("trainable", [False, True])
def test_a_file_carries_the_module_and_training_goes_on_exactly(texts, tmp_path, elsewhere, trainable):
    moved = shutil.copytree(texts, tmp_path / "module")
    model = fit(classifier(moved, trainable))
    model.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        names = archive.namelist()
        assert str(tmp_path) not in archive.read("config.json").decode()
        weights = io.BytesIO(archive.read("model.weights.h5"))
    assert sum(name.endswith("saved_model.pb") for name in names) == 1
    with h5py.File(weights) as file:
        held = [name for name in _datasets(file) if "optimizer" not in name and "tf_hub" in name]
    assert len(held) == trainable  # the others stand in the module
    shutil.rmtree(moved)
    elsewhere()
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(answer(again), answer(model))
    np.testing.assert_array_equal(answer(fit(again)), answer(fit(model)))
    again.save(tmp_path / "second.keras")
    np.testing.assert_array_equal(answer(keras.models.load_model(tmp_path / "second.keras")), answer(again))


def _datasets(file):
    found = []
    file.visititems(lambda name, one: found.append(name) if isinstance(one, h5py.Dataset) else None)
    return found


@pytest.mark.slow
def test_a_file_in_a_fresh_process(texts, tmp_path):
    model = fit(classifier(texts, trainable=True))
    model.save(tmp_path / "m.keras")
    script = (
        "import sys, keras, numpy as np, tensorflow as tf, keras_transfer;"
        "m = keras.models.load_model(sys.argv[1]); x = tf.constant(sys.argv[2:6]); y = np.array([0, 1, 0, 1]);"
        "before = np.asarray(m(x)).tolist();"
        "m.fit(x, y, epochs=2, verbose=0, shuffle=False); print([before, np.asarray(m(x)).tolist()])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", script, str(tmp_path / "m.keras"), *TEXTS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    before, after = (np.array(one) for one in __import__("json").loads(done.stdout.strip().splitlines()[-1]))
    np.testing.assert_array_equal(before.astype("float32"), answer(model))
    np.testing.assert_allclose(after, answer(fit(model)), atol=1e-5)


@pytest.mark.slow
def test_a_weights_file_brings_the_modules_own_numbers_back(texts, tmp_path):
    model = classifier(texts, trainable=True)
    model.save_weights(tmp_path / "untrained.weights.h5")
    start = answer(model)
    fit(model).save_weights(tmp_path / "trained.weights.h5")
    trained = answer(model)
    model.load_weights(tmp_path / "untrained.weights.h5")
    np.testing.assert_array_equal(answer(model), start)
    other = classifier(texts)
    other.load_weights(tmp_path / "trained.weights.h5")
    np.testing.assert_array_equal(answer(other), trained)


def test_several_outputs_and_training_mode(pictures):
    x = np.random.default_rng(0).uniform(0, 1, (6, 8, 8, 3)).astype("float32")
    kernel = np.random.default_rng(1).normal(size=(3, 4)).astype("float32")
    layer = TFHubLayer(pictures)
    np.testing.assert_allclose(layer(x)["features"], x.mean((1, 2)) @ kernel, atol=1e-5)
    told = layer(keras.Input((8, 8, 3)))
    assert {name: one.shape for name, one in told.items()} == {"map": (None, 8, 8, 4), "features": (None, 4)}
    for trainable in (False, True):
        layer = TFHubLayer(pictures, output="features", trainable=trainable)
        pixels = keras.Input((8, 8, 3))
        model = keras.Model(pixels, keras.layers.Dense(1)(layer(pixels)))
        model.compile("sgd", "mse")
        model.fit(x, np.zeros(6), verbose=0)
        assert (np.abs(np.asarray(layer.module.module.mean)).max() > 0) == trainable
        still = np.asarray(layer.module.module.mean).copy()
        model.predict(x, verbose=0)
        np.testing.assert_array_equal(layer.module.module.mean, still)
    assert len(layer.trainable_variables) == len(layer.non_trainable_variables) == 1


def test_as_a_backbone_it_exports(pictures, tmp_path):
    pixels = keras.Input((8, 8, 3))
    backbone = keras.Model(pixels, TFHubLayer(pictures, output="features")(pixels))
    model = build_classifier(backbone, 2, augmentation="none", preprocessing="tf")
    x = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3)).astype("float32")
    certificate = export_tflite(model, tmp_path / "m.tflite", data=(x, np.array([0, 1, 0, 1])))
    assert certificate.passed
    model.export(tmp_path / "saved", verbose=False)
    served = tf.saved_model.load(tmp_path / "saved")
    np.testing.assert_allclose(served.serve(tf.constant(x)), model(x), atol=1e-5)


def test_strings_export_as_a_saved_model(texts, tmp_path):
    model = fit(classifier(texts, trainable=True))
    model.export(tmp_path / "saved", verbose=False)
    served = tf.saved_model.load(tmp_path / "saved")
    np.testing.assert_allclose(served.serve(tf.constant(list(TEXTS))), answer(model), atol=1e-5)


def test_signatures_and_names(tmp_path):
    pixels = keras.Input((4,), name="x")
    exported = keras.Model(pixels, {"a": keras.layers.Dense(2)(pixels), "b": keras.layers.Dense(3)(pixels)})
    exported.export(tmp_path / "keras", verbose=False)
    x = np.ones((2, 4), "float32")
    layer = TFHubLayer(tmp_path / "keras", signature="serving_default", output="b", trainable=True)
    np.testing.assert_allclose(layer(x), exported(x)["b"], atol=1e-5)
    assert len(layer.trainable_variables) == 4
    for change, match in (
        ({}, r"only be run by one of its signatures; give `signature`\. Did you mean 'serving_default'"),
        ({"signature": "serving"}, r"no such signature\. Did you mean 'serve' or .* Received: 'serving'"),
        ({"signature": "serve", "output": "c"}, r"no such output\. Known: .* Received: output='c'"),
    ):
        with pytest.raises(ValueError, match=match):
            TFHubLayer(tmp_path / "keras", **change)


def test_what_a_module_is_given(texts, pictures):
    with pytest.raises(ValueError, match=r"gives one output; leave `output` out\. Received: output='x'"):
        TFHubLayer(texts, output="x")
    with pytest.raises(
        ValueError, match=r"The module takes \(\(TensorSpec\(shape=\(None, 8, 8, 3\).* Received: TensorSpec"
    ):
        TFHubLayer(pictures)(keras.Input((9, 9, 3)))


def test_mixed_precision(pictures, mixed_precision):
    pixels = keras.Input((8, 8, 3))
    model = keras.Model(pixels, keras.layers.Dense(2)(TFHubLayer(pictures, output="features")(pixels)))
    assert np.isfinite(model.predict(np.ones((2, 8, 8, 3)), verbose=0)).all()


def read():
    """How long a file of the machine is."""
    return tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32)


@tf.custom_gradient
def sly(x):
    return x, lambda upstream: upstream * read()


@tf.function
def once_more(x):
    return tf.while_loop(lambda i, _: i < 1, lambda i, y: (i + 1, y + read()), (0, x))[1]


@pytest.mark.parametrize(
    ("does", "name"),
    [
        (lambda x: x + read(), "ReadFile"),
        (lambda x: tf.cond(tf.reduce_sum(x) > 0, lambda: once_more(x), lambda: x), "ReadFile"),
        (sly, "ReadFile"),
        (lambda x: tf.numpy_function(lambda y: y, [x], tf.float32), r"\w*PyFunc\w*"),
        (
            lambda x: tf.raw_ops.DebugIdentity(input=x, tensor_name="x:0", debug_urls=["file:///tmp/never"]),
            "DebugIdentity",
        ),
        (
            lambda x: x + tf.raw_ops.ImmutableConst(dtype=tf.float32, shape=[1], memory_region_name="/etc/hostname"),
            "ImmutableConst",
        ),
    ],
    ids=["plainly", "inside", "in a gradient", "Python", "debugging", "mapped memory"],
)
def test_what_does_more_than_compute_is_not_loaded_out_of_a_file(tmp_path, elsewhere, does, name):
    module = tf.Module()
    module.__call__ = tf.function(does, input_signature=[tf.TensorSpec([None], tf.float32)], autograph=False)
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=True)
    folder = tmp_path / "module"
    tf.saved_model.save(module, str(folder), options=options)
    inputs = keras.Input(())
    keras.Model(inputs, TFHubLayer(folder, name="hub", output_shape=())(inputs)).save(tmp_path / "m.keras")
    elsewhere()
    with pytest.raises(ValueError, match=rf"does more than compute: {name}\. .*trust_module\('[0-9a-f]{{64}}'\)"):
        keras.models.load_model(tmp_path / "m.keras")


@pytest.mark.parametrize("change", ["path", "constant"])
def test_a_table_is_filled_from_the_modules_own_files_alone(texts, change):
    """A vocabulary in the assets; one whose name leads out of them, or that is written in the graph, is not loaded."""
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow.python.framework import op_def_registry

    model = saved_model_pb2.SavedModel()
    model.ParseFromString((Path(texts) / "saved_model.pb").read_bytes())
    (graph,) = model.meta_graphs
    stateful = lambda name: op_def_registry.get(name).is_stateful  # noqa: E731
    assert forbidden_operations(graph, stateful) == []
    if change == "path":
        graph.asset_file_def[0].filename = "../../etc/passwd"
    else:
        for node in graph.object_graph_def.nodes:
            if node.WhichOneof("kind") == "asset":
                node.constant.operation = "a constant"
    assert forbidden_operations(graph, stateful) == ["InitializeTableFromTextFileV2"]


def test_every_function_that_can_run_is_looked_through():
    """Reached by a call, by an attribute, as a gradient; and not what only writes checkpoints."""
    from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef

    graph = MetaGraphDef()
    operations = {"called": "ReadFile", "branch": "WriteFile", "list": "PyFunc", "gradient": "MatchingFiles"}
    for name, operation in {**operations, "older": "TextLineDataset", "traced_save": "SaveV2"}.items():
        function = graph.graph_def.library.function.add()
        function.signature.name = name
        function.node_def.add(op=operation)
    main = graph.graph_def.library.function.add()
    main.signature.name = "main"
    main.node_def.add(op="called")
    main.node_def.add(op="If").attr["then_branch"].func.name = "branch"
    main.node_def.add(op="Case").attr["branches"].list.func.add(name="list")
    graph.object_graph_def.concrete_functions["main"].SetInParent()
    graph.graph_def.library.registered_gradients.add(gradient_func="gradient")
    graph.graph_def.library.gradient.add(gradient_func="older")
    found = forbidden_operations(graph, lambda name: name not in ("ReadFile", "MatchingFiles"))
    assert found == sorted([*operations.values(), "TextLineDataset"])


def test_what_is_trusted_is_loaded(tmp_path, elsewhere):
    module = tf.Module()
    module.__call__ = tf.function(lambda x: x + read(), input_signature=[tf.TensorSpec([None], tf.float32)])
    tf.saved_model.save(module, str(tmp_path / "module"))
    inputs = keras.Input(())
    keras.Model(inputs, TFHubLayer(tmp_path / "module", name="hub")(inputs)).save(tmp_path / "m.keras")
    elsewhere()
    trust_module(module_hash(tmp_path / "module"))
    assert keras.models.load_model(tmp_path / "m.keras").get_layer("hub").module is not None
    with pytest.raises(ValueError, match=r"by its whole hash of 64 digits\. Received: 'abc'"):
        trust_module("abc")


def test_a_changed_module_is_not_loaded(texts, tmp_path, elsewhere):
    classifier(texts).save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as old, zipfile.ZipFile(tmp_path / "x.keras", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name) + (b"\n" if name.endswith("vocabulary.txt") else b""))
    elsewhere()
    with pytest.raises(
        ValueError, match=r"carries another module than its config names, .* it was changed\. Received: "
    ):
        keras.models.load_model(tmp_path / "x.keras")


def test_a_config_opens_no_path_and_no_address(texts):
    config = TFHubLayer(texts).get_config()
    for module in (str(texts), "https://tfhub.dev/google/nnlm-en-dim50/2", {"sha256": "0"}):
        with pytest.raises(ValueError, match=r"it opens no path and no address\. Received: "):
            TFHubLayer.from_config({**config, "module": module})
    again = TFHubLayer.from_config(config)
    assert again.get_config()["module"]["sha256"] == module_hash(texts)


def test_without_its_module_it_says_so(texts, elsewhere):
    config = TFHubLayer(texts).get_config()
    elsewhere()
    with pytest.raises(ValueError, match=r"travels in the assets of a '\.keras' file; .* Received: layer 'tf_hub"):
        TFHubLayer.from_config(config)(tf.constant(["a"]))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda path: path, r"is a folder with saved_model\.pb in it, .* Received: '"),
        (lambda path: path.write_bytes(b"no archive") and path, r"must be a whole \.tar\.gz of a module \("),
        (lambda path: _archive(path, "../out.txt"), r"must be a whole \.tar\.gz of a module \(.*out"),
        (lambda path: _archive(path, "readme.txt"), r"must hold saved_model\.pb, at its top or in a folder there"),
    ],
)
def test_what_is_no_module(tmp_path, make, match):
    with pytest.raises(ValueError, match=match):
        TFHubLayer(make(tmp_path / "module.tar.gz"))
    assert not (tmp_path / "out.txt").exists()


def _archive(path, name):
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO(b""))
    return path


def test_a_damaged_module(texts, tmp_path):
    folder = shutil.copytree(texts, tmp_path / "module")
    (folder / "saved_model.pb").write_bytes(b"\x08\x01nothing")
    with pytest.raises(ValueError, match=r"The module could not be loaded \(.*\)\. .* Received: '"):
        TFHubLayer(folder)


def test_handles(texts, tmp_path, monkeypatch):
    archive = packed(texts, tmp_path / "fetched.tar.gz")
    asked = []
    monkeypatch.setattr(keras.utils, "get_file", lambda *given, **_: asked.append(given) or str(archive))
    assert answer(TFHubLayer("https://tfhub.dev/google/nnlm-en-dim50/2")).shape == (4, 3)
    assert asked == [
        ("google%2Fnnlm-en-dim50%2F2.tar.gz", "https://tfhub.dev/google/nnlm-en-dim50/2?tf-hub-format=compressed")
    ]
    kaggle = pytest.importorskip("kagglehub")  # the extra `tfhub`
    monkeypatch.setattr(kaggle, "model_download", lambda handle: asked.append(handle) or str(texts))
    address = "https://www.kaggle.com/models/google/nnlm/frameworks/tensorFlow2/variations/en-dim50/versions/1"
    assert fetch_module(address) == Path(texts)
    assert (
        asked[-1]
        == kaggle_handle("kaggle://google/nnlm/tensorFlow2/en-dim50/1")
        == "google/nnlm/tensorFlow2/en-dim50/1"
    )
    with pytest.raises(ValueError, match=r"is owner/model/framework/variation, .* Received: 'kaggle://google/nnlm'"):
        fetch_module("kaggle://google/nnlm")


def test_what_fetches_is_missing_or_fails(monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(ValueError, match=r'pip install "keras-transfer\[tfhub\]", or give the folder'):
        TFHubLayer("kaggle://google/nnlm/tensorFlow2/en-dim50/1")

    def no_network(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(keras.utils, "get_file", no_network)
    with pytest.raises(ValueError, match=r"could not be fetched \(no route to host\)\. Without a network give"):
        TFHubLayer("https://tfhub.dev/google/nnlm-en-dim50/2")


@pytest.mark.slow
def test_on_another_backend_it_says_so(on_jax):
    script = """
import keras_transfer as kt
try:
    kt.backbones.TFHubLayer("module")
except ValueError as error:
    assert "set KERAS_BACKEND=tensorflow" in str(error), error
else:
    raise AssertionError("no error")
"""
    assert on_jax(script) == "done on JAX"


@pytest.mark.distributed
def test_two_replicas_learn_as_one(tmp_path, two_devices):
    script = """
import sys
from keras_transfer.backbones import TFHubLayer

class Line(tf.Module):
    def __init__(self):
        self.kernel = tf.Variable(np.random.default_rng(1).normal(size=(3, 4)).astype("float32"))

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32)])
    def __call__(self, x):
        return tf.matmul(x, self.kernel)

def trained(strategy):
    x = np.random.default_rng(0).uniform(0, 1, (8, 3)).astype("float32")
    with strategy.scope():
        keras.utils.set_random_seed(0)
        layer = TFHubLayer(sys.argv[1], trainable=True)
        inputs = keras.Input((3,))
        model = keras.Model(inputs, keras.layers.Dense(1)(layer(inputs)))
        model.compile(keras.optimizers.SGD(0.1), "mse")
    before = layer.get_weights()[0]
    model.fit(x, np.arange(8.0), batch_size=8, epochs=3, verbose=0, shuffle=False)
    return layer.get_weights()[0] - before

tf.saved_model.save(Line(), sys.argv[1])
one, two = trained(tf.distribute.get_strategy()), trained(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
print(np.abs(one - two).max() < 1e-5, np.abs(one).max() > 0.01)
"""
    assert two_devices(script, str(tmp_path / "line")) == "True True"
