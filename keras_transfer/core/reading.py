"""Read data once, in order, batch by batch, whatever `fit` would take."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from .feeding import Feed, coerce, plain_feed
from .streams import endless


def in_order(x: Any, y: Any = None, *, batch_size: int = 32) -> Iterator[tuple[Any, Any, Any]]:
    """Batches `(x, y, sample_weight)` of NumPy arrays, nested as the data nests them; what is not there is None.

    x: arrays (labels `y` may be left out), a finite `tf.data.Dataset`, `PyDataset` or generator of batches, a source with
    `gather`. batch_size: for arrays and sources. Nothing is shuffled here, and a `PyDataset` is not told that an epoch
    ended. Raises `ValueError` for data that does not end and `TypeError` for what is no data.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1. Received: {batch_size!r}")
    labelled = not (y is None and isinstance(x, np.ndarray))
    data = plain_feed(coerce(x, y if labelled else np.zeros(len(x))), Feed(batch_size, shuffle=False))
    if endless(data) or (isinstance(data, keras.utils.PyDataset) and data.num_batches is None):
        raise ValueError(f"The data must end; give one epoch of it. Received: an endless {type(data).__name__}")
    if isinstance(data, keras.utils.PyDataset):
        data = map(data.__getitem__, range(data.num_batches))
    elif hasattr(data, "as_numpy_iterator"):
        data = data.as_numpy_iterator()
    if isinstance(data, (str, dict)) or not hasattr(data, "__iter__"):
        raise TypeError(
            "The data must be arrays, a tf.data.Dataset, a PyDataset or a source with `gather`. "
            f"Received: {type(data).__name__}"
        )
    for batch in data:
        inputs, labels, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        yield inputs, labels if labelled else None, sample_weight
