"""H-score and LogME by their papers' formulas, and a ranking that puts the features that suit the labels first."""

import json

import keras
import numpy as np
import pytest

from keras_transfer.backbones import h_score, log_me, rank
from keras_transfer.core import activations


def clouds(n=90, d=7, classes=3, noise=1.0, seed=0):
    random = np.random.default_rng(seed)
    y = np.arange(n) % classes
    return random.normal(size=(classes, d))[y] + noise * random.normal(size=(n, d)) @ random.normal(size=(d, d)), y


@pytest.mark.parametrize(("n", "d"), [(90, 7), (40, 60)])
def test_h_score_is_the_trace_of_the_paper(n, d):
    x, y = clouds(n, d)
    expected = np.stack([x[y == y[i]].mean(axis=0) for i in range(n)])
    wanted = np.trace(np.linalg.pinv(np.cov(x.T), rcond=1e-12) @ np.cov(expected.T))
    assert h_score(x, y) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(("n", "d"), [(90, 7), (40, 60)])
def test_shrinkage_is_that_of_ledoit_and_wolf(n, d):
    """Number: their intensity by its definition, sample by sample."""
    x, y = clouds(n, d)
    x0 = x - x.mean(axis=0)
    cov, mean = x0.T @ x0 / n, np.eye(d) * (x0**2).sum() / n / d
    away = ((cov - mean) ** 2).sum()
    spread = sum(((np.outer(row, row) - cov) ** 2).sum() for row in x0) / n**2
    a = min(spread, away) / away
    expected = np.stack([x0[y == y[i]].mean(axis=0) for i in range(n)])
    wanted = np.trace(np.linalg.inv((1 - a) * cov + a * mean) @ ((1 - a) * expected.T @ expected / n))
    assert 0 < a < 1
    assert h_score(x, y, shrinkage=True) == pytest.approx(wanted, rel=1e-6)


def test_h_score_lies_between_nothing_and_classes_less_one():
    x, y = clouds(classes=4, n=100)
    assert 0 < h_score(x, y) < 3
    assert h_score(np.eye(4)[y] + 1e-9 * x[:, :4], y) == pytest.approx(3, abs=1e-3)
    turned = x @ np.random.default_rng(1).normal(size=(7, 7)) * 10 + 3  # the same features in other words
    assert h_score(turned, y) == pytest.approx(h_score(x, y), rel=1e-6)
    many = np.random.default_rng(2).normal(size=(100, 300))  # noise, more of it than samples
    assert h_score(many, y) == pytest.approx(3, abs=1e-6)  # looks perfect
    assert h_score(many, y, shrinkage=True) < 1.0  # and does not where it is shrunk


def evidence(x, y, log_alpha, log_beta):
    """log N(y | 0, I / beta + F F' / alpha), with the covariance written out."""
    n = len(x)
    cov = np.eye(n) / np.exp(log_beta) + x @ x.T / np.exp(log_alpha)
    sign, determinant = np.linalg.slogdet(cov)
    assert sign == 1
    return -0.5 * (y @ np.linalg.solve(cov, y) + determinant + n * np.log(2 * np.pi))


@pytest.mark.parametrize(("n", "d"), [(60, 5), (30, 45)])
def test_log_me_is_the_greatest_evidence(n, d):
    """Number: the Gaussian of the model, its two numbers found by another search."""
    from scipy.optimize import minimize

    x, y = clouds(n, d, noise=2.0)
    best = []
    for label in range(3):
        target = (y == label).astype(float)
        starts = [(a, b) for a in (-2.0, 2.0, 6.0) for b in (1.0, 3.0)]
        found = [
            minimize(lambda p, t=target: -evidence(x, t, *p), s, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-8})
            for s in starts
        ]  # fmt: skip
        best.append(-min(one.fun for one in found) / n)
    assert log_me(x, y) == pytest.approx(np.mean(best), abs=1e-4)


def test_log_me_sees_what_the_labels_depend_on():
    x, y = clouds(noise=0.3)
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(7, 7)))[0]
    assert log_me(x @ turn * 5, y) == pytest.approx(log_me(x, y), abs=1e-6)
    assert log_me(x, y) > log_me(x, np.random.default_rng(0).permutation(y)) + 0.05
    assert log_me(x, y + 5) == log_me(x, np.eye(3)[y]) == log_me(x, y)


@pytest.mark.parametrize("score", [h_score, log_me])
def test_what_cannot_be_scored_is_named(score):
    x, y = clouds()
    for bad, message in (
        ((x, y[1:]), "a label each"),
        ((x[None], y), "finite numbers"),
        ((np.full_like(x, np.nan), y), "finite"),
        ((x, y * 0), "at least two classes"),
    ):
        with pytest.raises(ValueError, match=message):
            score(*bad)


def encoder(channels, name):
    """Features that see some of the colours only."""
    pixels = keras.Input((8, 8, 3))
    kernel = np.zeros((1, 1, 3, 4), "float32")
    kernel[..., channels, :] = np.random.default_rng(0).normal(size=(len(channels), 4))
    layer = keras.layers.Conv2D(4, 1, name="conv")
    out = keras.layers.GlobalAveragePooling2D()(layer(pixels))
    layer.kernel.assign(kernel)
    return keras.Model(pixels, out, name=name)


@pytest.fixture
def colours():
    """The class is how red and how green the picture is; blue says nothing."""
    random = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = random.integers(0, 120, (60, 8, 8, 3)).astype("float32")
    x += 120 * random.random((60, 1, 1, 3)) * [0.3, 0.3, 1.0]
    x[..., :2] += np.array([[0, 0], [60, 0], [0, 60]])[y][:, None, None]
    return x, y


def test_the_encoder_that_sees_the_classes_comes_first(colours, monkeypatch):
    activations.forget()
    encoders = {"blue": encoder([2], "b"), "all": encoder([0, 1, 2], "a"), "red": encoder([0], "r")}
    found = rank(encoders, *colours)
    assert found.names == ["all", "red", "blue"]
    assert found.best == "all"
    assert found.sorted_by("h_score").names == ["all", "red", "blue"]
    told = json.loads(json.dumps(found.to_dict()))
    assert told["samples"] == 60
    row = told["rows"][0]
    f = encoders["all"].predict(colours[0], verbose=0)
    assert row["log_me"] == pytest.approx(log_me(f, colours[1]), abs=1e-4)
    assert row["h_score"] == pytest.approx(h_score(f, colours[1]), rel=1e-3)
    assert row["features"] == 4
    assert str(found).splitlines()[0].split()[:3] == ["backbone", "LogME", "*"]
    assert found._repr_html_().count("<tr>") == 4
    computed = []
    monkeypatch.setattr(activations, "run_prefix", lambda *a, **k: computed.append(a))
    assert rank(encoders, *colours).names == found.names
    assert not computed  # the features are there


def test_each_may_see_its_own_pictures(colours):
    from keras_transfer.data import ImageData

    x, y = colours
    whole = ImageData.from_arrays(x, y, seed=1)
    train = whole.splits["train"]
    one = rank({"a": encoder([0, 1], "a")}, whole)
    assert one.samples == len(train)  # the held-out pictures are not looked at
    two = rank({"a": encoder([0, 1], "a")}, {"a": train})
    assert two.rows[0]["log_me"] == one.rows[0]["log_me"]


@pytest.mark.parametrize(
    ("encoders", "data", "error", "message"),
    [
        ({}, (np.zeros((4, 8, 8, 3)), [0, 1, 0, 1]), TypeError, "at least one"),
        ({"a": None}, {"b": 1}, ValueError, r"\['a'\]. Received: \['b'\]"),
    ],
)
def test_what_cannot_be_ranked_is_named(encoders, data, error, message):
    with pytest.raises(error, match=message):
        rank(encoders, data)


def test_labels_must_be_there_and_agree(colours):
    x, y = colours
    both = {"a": encoder([0], "a"), "b": encoder([1], "b")}
    with pytest.raises(ValueError, match="same labels"):
        rank(both, {"a": (x, y), "b": (x, (y + 1) % 2)})
    with pytest.raises(ValueError, match="pass `y`"):
        rank(both, x)
    with pytest.raises(ValueError, match="`by` must be one of"):
        rank(both, x, y, by="accuracy")
