"""Fit a model whose frozen part runs once, on cached activations; where that is not right, in inference mode in the fit."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras

from .activations import InferenceMode
from .feeding import Feed, NewOrder, cached_feed, coerce, for_keras, mixed_feed, plain_feed
from .mixing import as_mix
from .numbers import count
from .outputs import loss_for_rows, refuse_sparse
from .prefix import Cut, cut, split_augmentation
from .progress import on_terminal
from .source import Batches
from .training import refuse_impossible
from .watching import WholeModelCallbacks


def fit(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    optimizer: keras.optimizers.Optimizer,
    loss: Any,
    metrics: Sequence[Any] = ("accuracy",),
    validation_data: Any = None,
    epochs: int = 1,
    batch_size: int = 32,
    views: int = 4,
    cache: bool = True,
    shuffle: bool = True,
    seed: int = 0,
    sample_weight: Any = None,
    class_weight: Any = None,
    mix: Any = None,
    mix_strength: float | None = None,
    callbacks: Sequence[keras.callbacks.Callback] | None = None,
    verbose: Any = "auto",
    before: int = 0,
    done: int = 0,
    planned: int | None = None,
    on_ready: Callable[[], None] | None = None,
    watched_by: Callable[..., keras.callbacks.CallbackList] = WholeModelCallbacks,
    **fit_kwargs: Any,
) -> keras.callbacks.History:
    """Compile and fit `model`; whatever lies before its first layer that trains runs in inference mode, and only once.

    x, y: NumPy arrays, a `tf.data.Dataset`, a `PyDataset`, or a source with `gather` (a split of `kt.load_images`).
    views: how many views of each picture are cached, the picture as it is and `views - 1` augmented ones (only the first
    where the model has no augmentation); every epoch shows one view of each picture, the next epoch the next. Where
    `views` is not below `epochs` nothing would be saved, and the fit runs without cache, as it does on data that does
    not repeat. Callbacks see the whole model. Afterwards the whole model is compiled, with the same optimizer.
    mix: "mixup" or "cutmix" (`core.mixing`) for pictures by index, with `mix_strength`; it pairs them anew in every
    batch, behind the augmentation, so there is no cache.

    A stage of a longer training says how many epochs lie `before` it, how many are `planned` in all, and, where it was
    interrupted, how many of its own are `done`; `on_ready` is called when data and optimizer are there, before the first
    step, and may put the weights of that moment back. `watched_by` makes the list of callbacks.
    """
    _check(model, epochs, views, batch_size)
    mix = as_mix(mix, mix_strength)
    verbose = (1 if on_terminal(sys.stdout) else 2) if verbose == "auto" else verbose
    feed = Feed(batch_size, shuffle, seed, show=None if verbose == 1 else False)
    model.compile(optimizer=optimizer, loss=loss, metrics=list(metrics))
    refuse_impossible(model)
    model.optimizer.build(model.trainable_variables)
    data, held_out = coerce(x, y, sample_weight), coerce(validation_data)
    worth_it = cache and done < epochs and partial(_worth_it, epochs=epochs, fit_kwargs=fit_kwargs, verbose=verbose)
    if mix is None:
        part, train, held = _part_and_feed(model, data, held_out, views, feed, worth_it, verbose)
    else:
        augmentation, part = _behind_augmentation(model)
        refuse_sparse(metrics)
        classes, loss = model.output_shape[-1], loss_for_rows(loss)
        train, held = mixed_feed(mix, augmentation, data, held_out, classes, class_weight, feed, before)
        class_weight = None  # the batches bring it
    if part is not model:
        part.compile(optimizer=model.optimizer, loss=loss, metrics=list(metrics))
    if done and isinstance(train, Batches):
        train.skip(done)
    if on_ready is not None:
        on_ready()
    watched = watched_by(
        part,
        callbacks=[NewOrder(train, before), *(callbacks or ())],
        add_history=True,
        add_progbar=verbose != 0,
        model=model,
        verbose=verbose,
        epochs=planned or before + epochs,
        steps=fit_kwargs.get("steps_per_epoch") or getattr(train, "num_batches", None),
    )
    part.history = model.history
    settings = {"class_weight": class_weight, "verbose": verbose, **fit_kwargs}
    here_and_to = {"initial_epoch": before + done, "epochs": before + epochs}
    part.fit(
        for_keras(train), validation_data=for_keras(held), shuffle=False, callbacks=watched, **here_and_to, **settings
    )
    return model.history


def _check(model: keras.Model, epochs: int, views: int, batch_size: int) -> None:
    if not model.trainable_weights:
        raise ValueError(
            "At least one layer must train; unfreeze the head first (kt.unfreeze(model, 'head')). Received: a frozen model"
        )
    if epochs < 1:
        raise ValueError(f"`epochs` must be at least 1. Received: {epochs!r}")
    if views < 1:
        raise ValueError(f"`views` must be at least 1, the picture as it is. Received: {views!r}")
    count("batch_size", batch_size)


def _part_and_feed(
    model: keras.Model, data: Any, held_out: Any, views: int, feed: Feed, worth_it: Any, verbose: Any
) -> tuple[keras.Model, Any, Any]:
    """What is fitted, on what: the part behind the frozen one on its activations, or all of it on the pictures."""
    here = cut(model) if _plain(model) else None
    views = views if here and here.augmentation is not None else 1
    if here and worth_it and worth_it(views):
        train, held, why_not = cached_feed(here, data, held_out, views, feed)
        if why_not is None:
            return here.suffix, train, held
        if verbose:
            print(f"No cache of the frozen part: {why_not}.")
    return _uncached(here) if here else model, plain_feed(data, feed), plain_feed(held_out, feed.in_order())


def _behind_augmentation(model: keras.Model) -> tuple[keras.Model | None, keras.Model]:
    """The augmentation, or None, and the model behind it, another object over the same layers."""
    if not _plain(model):
        raise ValueError(
            "`mix` is for Keras' own training step; a model with a step of its own mixes there. "
            f"Received: {type(model).__name__} {model.name!r}"
        )
    here = cut(model)
    if here is not None:
        return here.augmentation, _uncached(Cut(None, here.prefix, here.suffix))
    augmentation, rest = split_augmentation(model)
    return augmentation, keras.Model(rest.inputs[0], rest.outputs[0])


def _worth_it(views: int, epochs: int, fit_kwargs: dict[str, Any], verbose: Any) -> bool:
    """Whether the cached views are fewer than the epochs; where not, one line says so."""
    counted = fit_kwargs.get("steps_per_epoch") or fit_kwargs.get("validation_steps")
    if views < epochs and not counted:
        return True
    if verbose:
        reason = "an epoch is a number of steps"
        if views >= epochs:
            reason = f"{views} views of each sample are not fewer than {epochs} epochs, so it would not pay (fewer `views` do)"
        if epochs == 1:
            reason = "in one epoch each sample is seen once"
        print(f"No cache of the frozen part: {reason}.")
    return False


def _plain(model: keras.Model) -> bool:
    """Whether Keras' own training step is the model's; a model with its own is fitted as it is, never in part."""
    own = ("train_step", "test_step", "compute_loss", "call")
    kind = type(model)
    return all(_from_keras(next(base for base in kind.__mro__ if name in vars(base))) for name in own)


def _from_keras(kind: type) -> bool:
    return kind.__module__.split(".")[0] == "keras"


def _uncached(here: Cut) -> keras.Model:
    """The whole model with its frozen part held in inference mode (Dropout too), as the cached fit sees it."""
    first = (here.augmentation or here.prefix).inputs[0]
    x = keras.Input(batch_shape=first.shape, dtype=first.dtype)
    pictures = here.augmentation(x) if here.augmentation is not None else x
    return keras.Model(x, here.suffix(InferenceMode(here.prefix, name="frozen_prefix")(pictures)))
