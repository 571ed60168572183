"""The samples that scikit-learn carries: counts, and splits that do not touch."""

import numpy as np
import pytest

from keras_transfer.data.samples import few_digits, sample


def rows(pictures):
    return {picture.tobytes() for picture in pictures.gather(np.arange(len(pictures)))[0]}


def test_few_digits_are_ten_a_class_and_the_rest_is_fixed():
    one, other = few_digits(seed=0), few_digits(seed=1)
    assert np.bincount(one.splits["train"].targets()).tolist() == [10] * 10
    assert (len(one.splits["validation"]), len(one.splits["test"])) == (497, 900)
    assert rows(one.splits["test"]) == rows(other.splits["test"])
    assert rows(one.splits["train"]) != rows(other.splits["train"])
    assert not rows(one.splits["train"]) & rows(one.splits["test"])
    assert not rows(one.splits["train"]) & rows(one.splits["validation"])


def test_sample_by_name():
    assert sample("few_digits", seed=3, image_size=16, labels_a_class=2).splits["train"].gather([0])[0].shape == (
        1,
        16,
        16,
        1,
    )
    assert len(sample("digits").class_names) == 10
    with pytest.raises(ValueError, match="Did you mean"):
        sample("digit")
