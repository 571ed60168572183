"""SST-2 with MiniLM, 48 tokens, 3 epochs: the probe, the last layer, everything, and what trains a fraction of a percent.

`python tests/benchmarks/sst2.py [ROW ...] [--seeds N]`. The last epoch is kept, so dev and test chose nothing here; the rates
of the methods were chosen on TREC (`peft_defaults.py`). Each row runs in a process of its own, for its peak memory. To be
shown: LoRA and bottleneck adapters within a point of full fine-tuning, or two standard errors.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from functools import partial
from math import sqrt

from harness import DATA, mean_spread, run_rows

MINILM = DATA / "text_minilm"
STRATEGIES = {"probe": "linear_probe", "last_layer": "partial", "full": "full", "frozen": "feature_extraction"}
SETTINGS = {"lora": {"rank": 8, "alpha": 16}}
METHODS = ("lora", "pfeiffer", "nf4_lora", "prefix", "prompt")
SEEDS = {"probe": 1, "nf4_lora": 1, "prefix": 1, "prompt": 1}  # by default three
BATCH, LENGTH = 32, 48


def data(seed: int, name: str = "sst2") -> object:
    """The texts as they are split: SST-2 has a dev and a test file, of TREC a fifth of train is held out."""
    import keras_transfer as kt

    files = {"train": DATA / "text" / f"{name}_train.tsv.gz"}
    if name == "sst2":
        files |= {"validation": DATA / "text" / "sst2_dev.tsv.gz", "test": DATA / "text" / "sst2_test.tsv.gz"}
    return kt.load_texts(files, text_columns=1, label_column=0, batch_size=BATCH, seed=seed, on_bad="skip")


def model(num_classes: int, dropout: float | None = None) -> object:
    import keras_transfer as kt

    return kt.build_text_classifier(
        "minilm_l6", num_classes, weights=MINILM / "all_minilm_l6_v2.bert_backbone.weights.h5",
        vocabulary=MINILM / "vocab.txt", max_length=LENGTH, pooling="mean", dropout=dropout,
    )  # fmt: skip


def tuned(row: str, seed: int, texts: object, rate: float | None = None) -> tuple[object, object]:
    """The model of one row after its training, and the history."""
    import keras

    import keras_transfer as kt

    keras.utils.set_random_seed(seed)
    found = model(len(texts.class_names))
    told = {"seed": seed, "verbose": 0, "callbacks": [Clock()]}
    if row in STRATEGIES:
        closed = {} if row == "probe" else {"keep": "last", "learning_rate": rate}
        return found, getattr(kt.tuning, STRATEGIES[row])(found, texts, **told, **closed)
    if "nf4" in row:
        found = kt.peft.quantize(found, "nf4")
    method = row.removeprefix("nf4_")
    found = kt.peft.inject(found, method, **SETTINGS.get(method, {}))
    return found, kt.tuning.tune(found, texts, keep="last", learning_rate=rate, **told)


class Clock:
    """Made a callback when Keras is there: the seconds of each training step."""

    def __new__(cls) -> object:
        import keras

        class Steps(keras.callbacks.Callback):
            seconds: list[float] = []

            def on_train_batch_begin(self, batch: int, logs: object = None) -> None:
                self.start = time.perf_counter()

            def on_train_batch_end(self, batch: int, logs: object = None) -> None:
                self.seconds.append(time.perf_counter() - self.start)

        cls.last = Steps()
        return cls.last


def one(row: str, seed: int) -> dict[str, object]:
    """A training and its figures, in a process of its own."""
    import tempfile
    from pathlib import Path

    import keras_transfer as kt

    texts = data(seed)
    found, _ = tuned(row, seed, texts)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    known = texts.tokenized(found)
    report = kt.trainable_report(found)
    figures = {split: kt.evaluate(found, known.splits[split]).accuracy for split in ("validation", "test")}
    with tempfile.TemporaryDirectory() as folder:
        if row.endswith("lora"):  # whose file is the adapter; a prompt among embeddings has none
            path = kt.peft.save_adapters(found, Path(folder) / "adapter")
            size = sum(file.stat().st_size for file in Path(path).iterdir())
        else:
            size = Path(kt.save(found, Path(folder) / "m.keras")).stat().st_size
    return {
        "dev": round(figures["validation"], 4),
        "test": round(figures["test"], 4),
        "trainable": report.trainable,
        "file_bytes": size,
        "step_seconds": round(statistics.median(Clock.last.seconds), 4) if Clock.last.seconds else None,
        "peak_mb": round(peak),
    }


def apart(row: str, seed: int) -> dict[str, object]:
    """`one` in a fresh process."""
    command = [sys.executable, __file__, "--one", row, str(seed)]
    done = subprocess.run(command, env={**os.environ}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def table(rows: dict[str, dict[str, object]]) -> None:
    by_row: dict[str, list[dict[str, object]]] = {}
    for key, figures in rows.items():
        by_row.setdefault(key.partition(",")[0], []).append(figures)
    full = [one["test"] for one in by_row.get("full", [])]
    for row, runs in by_row.items():
        test = [one["test"] for one in runs]
        line = f"{row:<12} dev {mean_spread([one['dev'] for one in runs])}  test {mean_spread(test)}"
        if full and row != "full" and len(test) > 1 < len(full):
            gap = statistics.mean(full) - statistics.mean(test)
            error = sqrt(statistics.variance(full) / len(full) + statistics.variance(test) / len(test))
            line += f"  behind full by {gap:.4f} (standard error {error:.4f})"
        keys = ("trainable", "file_bytes", "step_seconds", "peak_mb")
        print(line, {key: runs[0][key] for key in keys}, flush=True)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[:1] == ["--one"]:
        print(json.dumps(one(arguments[1], int(arguments[2]))))
        sys.exit()
    seeds = int(arguments.pop(arguments.index("--seeds") + 1)) if "--seeds" in arguments else None
    wanted = [one for one in arguments if one != "--seeds"] or [*STRATEGIES, *METHODS]
    keys = {
        f"{row}, seed {seed}": partial(apart, row, seed) for row in wanted for seed in range(seeds or SEEDS.get(row, 3))
    }
    table(run_rows("sst2", keys))
