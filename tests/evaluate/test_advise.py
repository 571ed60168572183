"""The probe's figures against formulas written here, the decision on made-up figures, and the whole on data."""

import json
import math
import re
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_transfer.data import ImageData
from keras_transfer.evaluate import thresholds
from keras_transfer.evaluate.advice import Advice, Evidence
from keras_transfer.evaluate.advisor import advise, cut_short
from keras_transfer.evaluate.doubts import label_noise, shift, signal, wilson
from keras_transfer.evaluate.evidence import warnings
from keras_transfer.evaluate.look import Look
from keras_transfer.evaluate.pilot import Rows, seconds_of
from keras_transfer.evaluate.probe import (
    Table,
    curve,
    deal,
    linear,
    nearest,
    nearest_out_of_fold,
    out_of_fold,
    score,
    standard_error,
    strength,
    thinned,
)
from keras_transfer.evaluate.weighing import Figures, Guess, decide, weigh


def blobs(per_class=20, classes=3, width=6, apart=2.0, seed=0):
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(classes), per_class)
    return (rng.normal(size=(len(y), width)) + apart * rng.normal(size=(classes, width))[y]).astype("float32"), y


def table(x, y, folds=5):
    return Table(x, y, deal(y, folds=folds), int(y.max()) + 1, len(y))


# --- folds and draws


def test_law_folds_spread_every_class_keep_twins_together_and_leave_lone_pictures_in_training():
    y = np.array([0] * 11 + [1] * 10 + [2])
    twins = [[0, 1, 2], [15, 16]]
    fold = deal(y, twins)
    assert fold[-1] == -1
    assert (fold[:-1] >= 0).all()
    assert len(set(fold[[0, 1, 2]])) == 1
    assert len(set(fold[[15, 16]])) == 1
    alone = np.bincount(deal(y)[11:21], minlength=5)
    assert (alone == 2).all()
    chained = deal(y, [[3, 4], [5, 6], [0, 1], [1, 2], [4, 5]])  # groups that share a row are one
    assert len(set(chained[[0, 1, 2]])) == len(set(chained[3:7])) == 1
    assert np.array_equal(deal(y, seed=3), deal(y, seed=3))
    assert not np.array_equal(deal(y, seed=3), deal(y, seed=4))


def test_law_what_is_thinned_is_stratified_and_never_judged():
    x, y = blobs(per_class=30)
    t = table(x, y)
    for share in (0.1, 0.3, 1.0):
        for train, held in t.parts(share, seed=1):
            assert not set(train) & set(held)
            assert np.ptp(np.bincount(y[train])) == 0
    assert sorted(np.concatenate([held for _, held in t.parts()])) == list(range(90))
    assert len(Table(x, y, t.fold, 3, 45).parts()[0][0]) == 45  # no more than a strategy would be given
    assert set(y[thinned(np.arange(90), y, 0.001, np.random.default_rng(0))]) == {0, 1, 2}
    uneven = np.repeat([0, 1, 2], [100, 8, 30])
    kept = thinned(np.arange(138), uneven, 0.2, np.random.default_rng(0), 10)
    assert np.bincount(uneven[kept]).tolist() == [20, 8, 10]


def test_law_a_validation_picture_with_a_twin_in_training_does_not_judge_alone():
    look = Look.__new__(Look)  # its folds, without the pictures
    look.of_train, look.labels, look.seed = np.array([True] * 6 + [False] * 4), np.arange(10) % 2, 0
    look.shift = {"validation": {"p": 0.005, "score": 0.9}}
    look._twins = lambda: [[0, 6], [7, 8]]
    assert look._fold().tolist() == [-1] * 7 + [0] * 3
    look._twins = lambda: [[0, 6], [1, 7], [2, 8], [3, 9]]
    assert set(look._fold()) > {0, 1}  # no picture is left to judge alone: folds of all


def test_labels_that_may_be_wrong_are_named_where_there_are_any():
    look = SimpleNamespace(balanced=False, data=SimpleNamespace(scan=None))
    noise = {"surest": 0.5, "surest_low": 0.3, "surest_high": 0.7, "disagreement": 0.5}
    for suspects, words in (([], "70%)."), (["a", "b"], "Look at a, b."), (list("abcd"), "Look at a, b, c, ...")):
        found = {"noise": {**noise, "suspects": suspects}, "shift": {}, "figures": figures()}
        assert warnings(look, found)[0].text.endswith(words)


# --- scores


def test_number_scores_and_their_errors():
    labels, right = np.array([0] * 8 + [1] * 2), np.array([1] * 8 + [1, 0], bool)
    assert score(right, labels, False) == 0.9
    assert score(right, labels, True) == pytest.approx((1.0 + 0.5) / 2)
    plain = math.sqrt(((right - 0.9) ** 2).sum() + 1) / 10
    assert standard_error(right.astype(float), labels, False) == pytest.approx(plain)
    by_class = math.sqrt((0 + 1) / 64 + (0.5 + 1) / 4) / 2
    assert standard_error(right.astype(float), labels, True) == pytest.approx(by_class)


def test_number_nearest_mean_is_the_least_distance():
    x, y = blobs()
    new = blobs(seed=1)[0]
    means = np.stack([x[y == label].mean(axis=0) for label in range(3)])
    assert np.array_equal(nearest(x, y, new), ((new[:, None] - means) ** 2).sum(-1).argmin(1))


def test_effect_the_probe_learns_more_from_more_labels_and_gives_probabilities():
    x, y = blobs(per_class=60, width=40, apart=0.6)
    t = table(x, y)
    l2 = strength(t)
    rows = curve(t, l2, False)
    assert [row["share"] for row in rows] == [0.1, 0.3, 1.0]
    assert [row["pictures"] for row in rows] == [15, 42, 144]  # of 48 a class in training: 5, 14, 48
    assert rows[0]["score"] < rows[2]["score"]
    assert all(row["draws"] == 5 and row["spread"] > 0 for row in rows)
    p = out_of_fold(t, l2)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert rows[2]["score"] == pytest.approx((p.argmax(1) == y).mean())
    assert (nearest_out_of_fold(t) == y).mean() > 0.5
    missing = linear(x[y != 1], y[y != 1], x, 3)
    assert (missing[:, 1] == 0).all()


# --- doubts


def test_number_the_permutation_test_is_ridge_on_standardised_features():
    x, y = blobs(per_class=8, apart=0.5)
    fold = deal(y, folds=2)
    right = np.zeros(len(y), bool)
    for part in (0, 1):
        a, b = x[fold != part].astype(float), x[fold == part].astype(float)
        middle, deviation = a.mean(0), a.std(0)
        a, b = (a - middle) / deviation, (b - middle) / deviation
        size = (a**2).sum(1).mean()
        targets = np.eye(3)[y[fold != part]]
        share = targets.mean(0)
        # the primal form: a ridge of 1 on rows scaled to a mean squared length of 1
        w = np.linalg.solve(a.T @ a / size + np.eye(6), a.T @ ((targets - share) / share) / size)
        right[fold == part] = (b @ w).argmax(1) == y[fold == part]
    found = signal(x, y, fold)
    assert found["score"] == pytest.approx(np.mean([right[y == label].mean() for label in range(3)]))
    assert found["chance"] == pytest.approx(1 / 3, abs=0.05)
    assert 1 / 200 <= found["p"] <= 1


def test_effect_signal_is_found_where_it_is_and_seldom_where_it_is_not():
    x, y = blobs(per_class=15)
    assert signal(x, y, deal(y))["p"] == 1 / 200
    rng = np.random.default_rng(0)
    shuffled = [rng.permutation(y) for _ in range(20)]
    p = [signal(x, one, deal(one), seed)["p"] for seed, one in enumerate(shuffled)]
    assert np.mean(np.array(p) <= 0.1) <= 0.25
    assert np.mean(p) > 0.3


def test_effect_a_shift_between_two_sets_is_found():
    x = np.random.default_rng(0).normal(size=(120, 5))
    same, moved = shift(x[:80], x[80:]), shift(x[:80], x[80:] + 1.5)
    assert same["p"] > 0.05
    assert moved["p"] == 1 / 200
    assert moved["score"] > 0.8 > same["score"]


def test_number_label_noise_by_the_confident_joint():
    rng = np.random.default_rng(2)
    p = rng.dirichlet([1, 1, 1], 30)
    y = np.array([rng.choice(3, p=row) for row in p])
    limits = [np.mean([p[i][j] for i in range(30) if y[i] == j]) for j in range(3)]
    counts = np.zeros((3, 3))
    for i in range(30):
        over = [j for j in range(3) if p[i][j] >= limits[j]]
        if over:
            counts[y[i], max(over, key=lambda j: p[i][j])] += 1
    joint = counts / counts.sum(1, keepdims=True) * np.bincount(y)[:, None]
    found = label_noise(p, y)
    assert found["confident"] == pytest.approx(1 - np.trace(joint) / 30)
    surest = np.argsort(-p.max(1))[:6]
    assert found["surest"] == pytest.approx(np.mean(p[surest].argmax(1) != y[surest]))
    assert len(found["suspects"]) == counts.sum() - np.trace(counts)


def test_effect_wrong_labels_are_found():
    x, y = blobs(per_class=60, apart=4.0)
    wrong = np.random.default_rng(1).permutation(len(y))[:36]
    given = y.copy()
    given[wrong] = (given[wrong] + 1) % 3
    t = table(x, given)
    found = label_noise(out_of_fold(t, 0.1), given)
    assert found["confident"] == pytest.approx(0.2, abs=0.07)
    assert found["surest_low"] < 0.2 < found["surest_high"]
    assert len(set(found["suspects"][:20]) & set(wrong)) >= 18


def test_number_wilson():
    low, high = wilson(0.5, 10)
    for edge in (low, high):  # the edges solve (p - 1/2)^2 = z^2 p (1 - p) / n
        assert (edge - 0.5) ** 2 == pytest.approx(1.96**2 * edge * (1 - edge) / 10)
    assert wilson(0.0, 5)[0] == 0.0


# --- the decision

CLEAR = {"classes": 3, "labels_a_class": 30, "smallest": 30, "signal": 0.005}
CLEAR |= {"linear": Guess(0.8, 0.02), "nearest": Guess(-0.05, 0.02), "random": Guess(-0.3, 0.03)}


def figures(**changes):
    return Figures(**{**CLEAR, **changes})


def test_number_prior_and_measurement_meet_by_their_precision():
    before = thresholds.Prior(10, 0.1, 0.2)
    found = weigh(before, Guess(0.0, 0.1))
    assert found.mean == pytest.approx(0.1 * (1 / 0.04) / (1 / 0.04 + 1 / 0.01))
    assert found.deviation == pytest.approx(math.sqrt(1 / (25 + 100)))
    assert weigh(before, None) == Guess(0.1, 0.2)
    assert Guess(0.0, 1.0).above(1.0) == pytest.approx(0.15866, abs=1e-5)


@pytest.mark.parametrize(
    ("changes", "strategy"),
    [
        ({"tuned": Guess(0.2, 0.02)}, "layerwise"),
        ({"tuned": Guess(-0.2, 0.02)}, "linear_probe"),
        ({"tuned": Guess(-0.2, 0.02), "nearest": Guess(0.3, 0.01)}, "nearest_mean"),
        ({"tuned": None, "labels_a_class": 10**4}, None),  # whatever is usual, nothing was measured
        ({"signal": 0.3}, None),
        ({"smallest": 2}, None),
        ({"random": Guess(0.0, 0.02), "tuned": Guess(0.2, 0.02)}, None),
        ({"random": Guess(0.0, 0.02), "labels_a_class": 5000}, "scratch"),
        ({"linear": Guess(0.995, 0.002)}, "linear_probe"),
    ],
)
def test_law_the_decision_follows_the_figures(changes, strategy):
    found = decide(figures(**changes))
    assert found.strategy == strategy
    assert found.leaning
    assert found.why
    assert strategy is None or found.certainty >= 2 / 3


def test_law_what_is_too_close_cannot_be_told():
    found = decide(figures(tuned=Guess(-0.01, 0.08), labels_a_class=200))
    assert found.strategy is None
    assert found.certainty < 2 / 3


def test_law_a_worse_linear_probe_never_makes_fine_tuning_less_likely():
    taken = [decide(figures(tuned=Guess(gain, 0.03))).leaning for gain in np.linspace(-0.3, 0.3, 13)]
    assert taken[0] == "linear_probe"
    assert taken[-1] == "layerwise"
    assert taken.index("layerwise") == len(taken) - taken[::-1].index("linear_probe")


def test_number_a_pilot_that_was_cut_short_is_less_sure():
    assert cut_short(Guess(0.1, 0.03), 1.0) == Guess(0.1, 0.03)
    step = thresholds.value("halving")
    assert cut_short(Guess(0.1, 0.03), 0.25).deviation == pytest.approx(math.hypot(0.03, 2 * step))


# --- thresholds and their page


def test_law_every_threshold_says_where_it_comes_from_and_the_page_has_them_all():
    text = (Path(__file__).resolve().parents[2] / "docs" / "choosing.md").read_text("utf-8")
    for name, one in thresholds.TABLE.items():
        assert one.kind in (thresholds.MEASURED, thresholds.FOLKLORE)
        assert one.source
        row = re.search(rf"^\| `{name}` \| ([^|]+) \| [^|]+ \| {one.kind} \|", text, re.MULTILINE)
        assert row, f"docs/choosing.md must have a row for {name}, marked {one.kind}"
        assert float(row[1]) == pytest.approx(one.value, abs=0.005)
    for heading, rows in (("nearest mean", thresholds.NEAREST), ("fine-tuning", thresholds.TUNED)):
        for row in rows:
            upper = "more" if row.up_to == float("inf") else f"to {row.up_to:g}"
            assert f"| {heading} | {upper} | {100 * row.mean:+.0f} ± {100 * row.deviation:.0f} |" in text
    assert "When not to transfer" in text


# --- sources, times, what is printed


class Split:
    def __init__(self, numbers, name):
        self.numbers, self.fingerprint = np.asarray(numbers), name

    def __len__(self):
        return len(self.numbers)

    def targets(self):
        return self.numbers % 2

    def gather(self, indices):
        x = self.numbers[indices]
        return np.broadcast_to(x[:, None, None, None], (len(x), 2, 2, 3)).astype("uint8"), x % 2


def test_law_rows_of_several_splits_are_one_source():
    rows = Rows([Split([10, 11, 12], "a"), Split([20, 21], "b")], np.array([4, 0, 2, 3]))
    x, y = rows.gather([0, 1, 2, 3])
    assert x[:, 0, 0, 0].tolist() == [21, 10, 12, 20]
    assert y.tolist() == rows.labels.tolist() == [1, 0, 0, 0]
    some = rows.subset(np.array([3, 0]))
    assert some.gather(np.arange(2))[0][:, 0, 0, 0].tolist() == [20, 21]
    assert some.fingerprint != rows.fingerprint
    assert rows.fingerprint == Rows([Split([10, 11, 12], "a"), Split([20, 21], "b")], rows.rows).fingerprint


def test_law_seconds_grow_with_pictures_and_with_what_trains():
    speed = {"forward": 0.01, "step": 0.03, "start_forward": 1.0, "start_step": 3.0}
    few, many = (seconds_of(n, 20, speed, 0.5, True) for n in (100, 1000))
    assert all(few[name] < many[name] for name in few)
    order = ("nearest_mean", "linear_probe", "feature_extraction", "partial", "layerwise", "progressive")
    assert sorted(many, key=many.get)[: len(order)] == sorted(order, key=lambda name: many[name])
    assert [many[one] for one in order] == sorted(many[one] for one in order)
    assert many["full"] == pytest.approx(3 + 2 * 10 * (1000 * 0.03 + 20 * 0.01 + 0.2))


def test_law_an_advice_tells_itself():
    lines = [Evidence("probe", "A <probe>."), Evidence("few labels", "Few.", "folklore")]
    made = Advice(
        "full", "full", "it gains", 0.9, "accuracy", (0.8, 0.7, 0.9), {"full": 120.0}, lines[:1], lines[1:], 12.0
    )
    text = str(made)
    assert text.startswith("full: it gains.\nExpected accuracy of full: 0.800 (0.700 to 0.900)")
    assert "Look at this first" in text
    assert "full 2 min" in text
    assert "A &lt;probe&gt;." in made._repr_html_()
    told = json.loads(json.dumps(made.to_dict()))
    assert told["expected"] == {"measure": "accuracy", "mean": 0.8, "low": 0.7, "high": 0.9}
    unsure = Advice(None, "full", "x", 0.5, "accuracy", (0.8, 0.7, 0.9), {}, [], [], 1.0)
    assert unsure.cannot_tell
    assert str(unsure).startswith("Cannot tell: x. To settle it, run `compare`; meanwhile full.")


# --- the whole


def coloured(seed=0, random_labels=False, n=48):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    x = rng.integers(0, 120, (n, 32, 32, 3))
    x[y == 1, ..., 0] += 100
    return x.astype("uint8"), rng.permutation(y) if random_labels else y


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """A weights file that is as random as can be."""
    path = tmp_path_factory.mktemp("weights") / "random.weights.h5"
    keras.utils.set_random_seed(5)
    keras.applications.MobileNet(input_shape=(32, 32, 3), alpha=0.25, include_top=False, weights=None).save_weights(
        path
    )
    return path


@pytest.mark.slow
def test_effect_weights_that_are_no_better_than_random_are_told_and_nothing_is_recommended(untrained):
    data = ImageData.from_arrays(*coloured())
    found = advise(data, backbone="mobilenet_0.25", weights=untrained, seconds=1, augmentation="none", show=False)
    assert found.cannot_tell
    assert "untrained network" in found.why
    assert found.figures["signal"]["p"] == 1 / 200
    assert found.figures["random"]["mean"] > -0.02  # the untrained network loses nothing
    json.dumps(found.to_dict())


@pytest.mark.slow
def test_effect_labels_without_meaning_cannot_be_told(untrained):
    data = ImageData.from_arrays(*coloured(random_labels=True))
    found = advise(data, backbone="mobilenet_0.25", weights=untrained, seconds=1, augmentation="none", show=False)
    assert found.cannot_tell
    assert "shuffled labels" in found.why
    assert found.figures["pilot"] is None


def test_bad_arguments_are_told():
    with pytest.raises(TypeError, match="must be an ImageData"):
        advise(np.zeros((4, 8, 8, 3)))
    data = ImageData.from_arrays(*coloured(n=12))
    with pytest.raises(ValueError, match="nothing to transfer"):
        advise(data, weights=None)
    with pytest.raises(ValueError, match="`seconds` must be a number"):
        advise(data, seconds=0)


@pytest.mark.slow
def test_effect_on_ants_and_bees_the_probe_is_recommended_and_holds_what_it_promises(data_root):
    import keras_transfer as kt

    weights = data_root / "backbones" / "mobilenet_0.25_128.weights.h5"
    data = kt.load_images(data_root / "hymenoptera", image_size=128)
    found = advise(data, backbone="mobilenet_0.25", weights=weights, show=False)
    assert found.strategy in ("linear_probe", "layerwise")
    assert found.figures["pilot"]["folds"] >= 1
    _, low, high = found.accuracy
    model = kt.build_classifier("mobilenet_0.25", 2, weights=weights, input_shape=(128, 128, 3))
    kt.tuning.linear_probe(model, data, verbose=0)
    assert low - 0.05 <= kt.evaluate(model, data).accuracy <= high + 0.05
