"""Whatever holds pictures becomes batches in order."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_transfer.core.source import ArraySource, Batches
from keras_transfer.data import ImageData
from keras_transfer.export.heldout import held_out, random_pictures

X = np.arange(10, dtype="float32")[:, None, None, None] * np.ones((10, 4, 4, 3), "float32")
Y = np.arange(10) % 2


def read(found, *arguments):
    parts = list(found.batches(*arguments))
    return np.concatenate([x[:, 0, 0, 0] for x, _ in parts]), [len(x) for x, _ in parts]


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        [X, Y],
        (X, Y, np.ones(10)),
        X,
        ArraySource(X, Y),
        Batches(ArraySource(X, Y), 3),
        tf.data.Dataset.from_tensor_slices((X, Y)).batch(3),
    ],
)
def test_law_every_kind_gives_the_same_pictures_in_order(data):
    found = held_out(data)
    assert read(found)[0].tolist() == list(range(10))
    assert sum(len(x) for x, _ in found.batches(32, 4)) == 4
    labelled = not isinstance(data, np.ndarray)
    assert found.labelled == labelled
    if labelled:
        assert np.concatenate([y for _, y in found.batches()]).tolist() == Y.tolist()


def test_a_limit_is_spread_evenly_over_what_has_an_index():
    assert read(held_out((X, Y)), 2, 4)[0].tolist() == [0, 3, 6, 9]
    assert read(held_out((X, Y)), 3, 4)[1] == [3, 1]
    assert read(held_out(Batches(ArraySource(X, Y), 3)), 32, 4)[0].tolist() == [0, 1, 2, 3]


def test_image_data_gives_test_where_given_else_validation():
    x = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3), "uint8")
    y = np.arange(20) % 2
    found = held_out(ImageData.from_arrays(x[:12], y[:12], validation=(x[12:16], y[12:16]), test=(x[16:], y[16:])))
    assert (found.split, len(found.names), tuple(found.class_names), found.resize) == ("test", 4, ("0", "1"), "squash")
    assert held_out(ImageData.from_arrays(x, y)).split == "validation"


def test_what_cannot_be_measured_on_is_refused():
    endless = tf.data.Dataset.from_tensor_slices((X, Y)).batch(3).repeat()
    for data in (endless, "photos", None, 3, (x for x in [X])):
        with pytest.raises(ValueError, match=r"ImageData, arrays .* Received"):
            held_out(data)
    with pytest.raises(ValueError, match="at least one"):
        held_out((X[:0], Y[:0]))


def test_batches_without_labels_are_told():
    class Pictures(keras.utils.PyDataset):
        num_batches = 1

        def __getitem__(self, index):
            return (X,)

    with pytest.raises(ValueError, match="batches of pictures alone"):
        next(held_out(Pictures()).batches())


def test_random_pictures_are_seeded_and_fill_the_range():
    one, two = (next(random_pictures((12, 8, 3)).batches(32))[0] for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert one.shape == (32, 12, 8, 3)
    assert one.dtype == np.uint8
    assert one.min() < 20
    assert one.max() > 235
    assert keras.ops.std(one.astype("float32")) > 30
