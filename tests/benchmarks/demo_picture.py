"""The README's picture: what the source looks like, what the target looks like, and the demo's rows.

`python tests/benchmarks/demo_picture.py` runs the rows of the demo and writes assets/demo.png.
"""

import statistics
from functools import partial
from pathlib import Path

from harness import run_rows

OUTPUT = Path(__file__).resolve().parents[2] / "assets" / "demo.png"
SEEDS = (0, 1, 2)


def row(name: str, seed: int) -> dict[str, float]:
    from keras_transfer.data.samples import few_digits
    from keras_transfer.demo.rows import IMAGE_SIZE, ROWS

    found = ROWS[name](few_digits(seed=seed, image_size=IMAGE_SIZE), seed)
    return {"accuracy": found.accuracy, "train_accuracy": found.train_accuracy, "fit_seconds": round(found.seconds, 1)}


def draw(rows: dict[str, list[float]]) -> None:
    import numpy as np
    from matplotlib.figure import Figure

    from keras_transfer.data.samples import few_digits
    from keras_transfer.demo.glyphs import draw_glyphs

    source = draw_glyphs(24, seed=3)[0][..., 0]
    chosen = np.random.default_rng(1).permutation(100)[:24]
    target = few_digits(seed=0, image_size=32).splits["train"].gather(chosen)[0][..., 0]
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1, 1, 1.5])
    for axis, pictures, title in (
        (left, source, "seen before: printed glyphs"),
        (middle, target, "the task: handwriting,\nten labels a digit"),
    ):
        axis.imshow(np.block([[pictures[4 * r + c] for c in range(4)] for r in range(6)]), cmap="gray")
        axis.set_title(title, fontsize=11)
        axis.axis("off")
    names = list(rows)[::-1]
    means = [statistics.mean(rows[name]) for name in names]
    spread = [statistics.stdev(rows[name]) for name in names]
    colours = ["#9ca3af" if name in ("pixel SVM", "from scratch") else "#2563eb" for name in names]
    right.barh(names, means, xerr=spread, color=colours, error_kw={"capsize": 4})
    right.set_xlim(0.86, 1.0)
    for at, mean in enumerate(means):
        right.text(0.863, at, f"{mean:.3f}", va="center", color="white", fontweight="bold")
    right.set_title("accuracy on 900 test digits, three seeds", fontsize=11)
    right.spines[["top", "right"]].set_visible(False)
    OUTPUT.parent.mkdir(exist_ok=True)
    figure.savefig(OUTPUT, dpi=110)


if __name__ == "__main__":
    from keras_transfer.demo.rows import ROWS

    done = run_rows("demo", {f"{name}, seed {seed}": partial(row, name, seed) for name in ROWS for seed in SEEDS})
    draw({name: [done[f"{name}, seed {seed}"]["accuracy"] for seed in SEEDS] for name in ROWS})
