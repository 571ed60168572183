"""Every number on which `advise` decides, with where it comes from: measured here, or folklore (habit, a paper's rule)."""

from dataclasses import dataclass

MEASURED, FOLKLORE = "measured", "folklore"
SCRIPT = "tests/benchmarks/advise_thresholds.py"


@dataclass(frozen=True)
class Threshold:
    """One number: what it decides, whether it was measured, and its source."""

    value: float
    decides: str
    kind: str
    source: str


@dataclass(frozen=True)
class Prior:
    """What to expect of a difference in score before measuring it, by labels a class: mean and standard deviation."""

    up_to: float  # labels a class
    mean: float
    deviation: float


TABLE = {
    "signal": Threshold(
        0.01,
        "the largest p-value of the permutation test at which the features are held to carry signal",
        FOLKLORE,
        "a habit of statistics",
    ),
    "fewest": Threshold(
        4,
        "pictures of the smallest class below which nothing is recommended",
        FOLKLORE,
        "one to hold out and three to learn from",
    ),
    "uneven": Threshold(
        3.0,
        "largest class to smallest from which balanced accuracy judges instead of accuracy",
        FOLKLORE,
        "Buda, Maki & Mazurowski 2018 (arXiv:1710.05381) see harm from ten on; three is the scan's note",
    ),
    "shift": Threshold(
        0.01, "the largest p-value at which train and held-out pictures are held to differ", FOLKLORE, "as `signal`"
    ),
    "shift_score": Threshold(
        0.6,
        "the share of pictures whose split is told rightly, from which a difference matters (0.5: none)",
        FOLKLORE,
        "a tenth above chance",
    ),
    "noise": Threshold(
        0.05,
        "labels contradicted among the surest fifth, lower end of the interval, from which they are suspected",
        FOLKLORE,
        "Northcutt, Athalye & Mueller 2021 (arXiv:2103.14749) find 3.3 % in well-kept test sets",
    ),
    "noise_share": Threshold(
        0.5,
        "contradicted among the surest fifth, as a share of all contradicted, from which it is not the probe's weakness",
        FOLKLORE,
        "wrong labels are as frequent where the probe is sure; its own errors are not",
    ),
    "margin": Threshold(
        0.01, "the gain in score for which a longer training is worth it", FOLKLORE, "one point; what people report"
    ),
    "certainty": Threshold(
        2 / 3,
        "the least probability of being within `margin` of the best at which something is recommended",
        FOLKLORE,
        "two to one",
    ),
    "halving": Threshold(
        0.05,
        "what each halving of the pilot's steps against the whole training's adds to its deviation",
        FOLKLORE,
        "a training that is cut short says less, and says it too low",
    ),
    "ceiling": Threshold(
        0.99, "the probe's score from which nothing is left to gain", FOLKLORE, "the rest is labels and chance"
    ),
    "random": Threshold(
        0.02,
        "the least gain of pretrained over random features at which the weights are held to help",
        FOLKLORE,
        "two points; Raghu et al. 2019 (arXiv:1902.07208) see less on large medical sets",
    ),
    "scratch": Threshold(
        1000,
        "labels a class from which training from scratch is an option",
        FOLKLORE,
        "He, Girshick & Dollar 2019 (arXiv:1811.08883): on COCO the advantage of ImageNet ends between 1,000 and 10,000 pictures",
    ),
}

# Both measured by SCRIPT, rounded. Nearest mean minus linear probe, held-out accuracy
NEAREST = (Prior(3, 0.00, 0.04), Prior(7, -0.03, 0.05), Prior(15, -0.07, 0.05), Prior(float("inf"), -0.13, 0.09))
# layer-wise fine-tuning minus linear probe: too few steps at few labels, and features that fit ever less at many
TUNED = (Prior(7, -0.20, 0.15), Prior(15, -0.10, 0.12), Prior(60, -0.06, 0.10), Prior(float("inf"), 0.05, 0.12))


def value(name: str) -> float:
    """The number of that name."""
    return TABLE[name].value


def prior(table: tuple[Prior, ...], labels_a_class: float) -> Prior:
    """The row for so many labels a class."""
    return next(row for row in table if labels_a_class <= row.up_to)
