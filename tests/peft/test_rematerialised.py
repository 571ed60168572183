"""Blocks that run twice: the same losses with dropout, the same files, and nothing kept in between."""

import keras
import numpy as np
import pytest

from keras_transfer import peft
from keras_transfer.core.saving import load, save
from keras_transfer.peft.rematerialised import rematerialise

Y = np.array([0, 1, 2, 0])


def classifier(tiny, again):
    """A classifier with dropout under LoRA, whose blocks run again or not."""
    keras.utils.set_random_seed(0)
    backbone = tiny.bert(dropout=0.3)
    model = tiny.hub().BertTextClassifier(backbone, num_classes=3, preprocessor=None)
    model = peft.rematerialised(model) if again else model
    model = peft.inject(model, "lora", "all-linear", rank=2, dropout=0.2)
    model.compile(keras.optimizers.SGD(0.5), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


@pytest.mark.slow
def test_the_same_losses_dropout_included_and_a_file_goes_on(tiny, tmp_path):
    plain, twice = classifier(tiny, False), classifier(tiny, True)
    losses = [one.fit(tiny.BERT_INPUT, Y, epochs=5, verbose=0).history["loss"] for one in (plain, twice)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    assert len(set(losses[0])) == 5
    again = load(save(twice, tmp_path / "m.keras"))
    assert hasattr(again.backbone.get_layer("transformer_layer_1").call, "rematerialised")
    more = [one.fit(tiny.BERT_INPUT, Y, epochs=2, shuffle=False, verbose=0).history["loss"] for one in (twice, again)]
    assert more[0] == more[1]
    base = peft.dequantize(peft.eject(again))
    assert "call" not in vars(base.backbone.get_layer("transformer_layer_1"))


def test_the_inside_of_a_block_runs_twice_a_step():
    """Counted by a layer that counts, in eager mode: once forth, once more in the backward pass."""

    class Counted(keras.layers.Layer):
        runs = 0

        def call(self, x):
            type(self).runs += 1
            return keras.ops.tanh(x)

    class Block(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.dense, self.counted = keras.layers.Dense(8), Counted()

        def build(self, shape):
            self.dense.build(shape)
            self.built = True

        def call(self, x):
            return self.counted(self.dense(x))

    x = keras.Input((8,))
    block = Block()
    model = keras.Model(x, keras.layers.Dense(1)(block(x)))
    rematerialise(block)
    assert rematerialise(block) is block  # once is enough
    model.compile("sgd", "mse", run_eagerly=True)
    model.train_on_batch(np.ones((2, 8)), np.ones((2, 1)))
    Counted.runs = 0
    model.train_on_batch(np.ones((2, 8)), np.ones((2, 1)))
    assert Counted.runs == 2
    with pytest.raises(ValueError, match="must be built"):
        rematerialise(Block())
