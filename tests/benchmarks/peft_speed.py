"""A training step of LoRA beside keras-hub's `enable_lora`, full fine-tuning and HF PEFT on torch: 32 texts of 128 tokens, interleaved.

`python tests/benchmarks/peft_speed.py [minilm] [bert_base] [--rounds N]`. "all" adapts every Dense and EinsumDense of the
encoder, "qv" query and value. `KERAS_TRANSFER_TORCH` names a Python with torch, transformers and peft; without it their
rows are left out. To be shown: ours over hub's and over full at most 0.80 for "all"; below hub's and at most 0.80 of full
for "qv".
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from harness import run_rows

SHAPES = {"minilm": (6, 384, 12), "bert_base": (12, 768, 12)}  # layers, width, heads
BATCH, LENGTH, WORDS, RANK, WARM = 32, 128, 30522, 8, 2
ALL = [
    "query",
    "key",
    "value",
    "attention_output",
    "feedforward_intermediate_dense",
    "feedforward_output_dense",
    "pooled_dense",
]
PROCESSES: list[subprocess.Popen[str]] = []
WHERE = {"all": ALL, "qv": ["query", "value"]}


def encoder(shape: str) -> tuple[object, object]:
    """A keras-hub BERT of that shape with random weights, and a classifier over it."""
    import keras
    import keras_hub

    layers, width, heads = SHAPES[shape]
    backbone = keras_hub.models.BertBackbone(WORDS, layers, heads, width, 4 * width)
    logits = keras.layers.Dense(2, name="logits")(backbone.output["pooled_output"])
    return backbone, keras.Model(backbone.input, logits)


def stepper(model: object) -> Callable[[], float]:
    """One training step on the same random tokens, in seconds."""
    import keras
    import numpy as np

    random = np.random.default_rng(0)
    ids = random.integers(0, WORDS, (BATCH, LENGTH)).astype("int32")
    x = {"token_ids": ids, "segment_ids": np.zeros_like(ids), "padding_mask": np.ones_like(ids)}
    y = random.integers(0, 2, BATCH)
    model.compile(keras.optimizers.AdamW(1e-4), keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    def step() -> float:
        start = time.perf_counter()
        model.train_on_batch(x, y)
        return time.perf_counter() - start

    return step


def full(shape: str) -> Callable[[], float]:
    return stepper(encoder(shape)[1])


def hub(shape: str, where: str) -> Callable[[], float]:
    backbone, model = encoder(shape)
    backbone.enable_lora(RANK, target_layer_names=WHERE[where])
    return stepper(model)


def ours(shape: str, where: str) -> Callable[[], float]:
    import keras_transfer as kt

    return stepper(kt.peft.inject(encoder(shape)[1], "lora", WHERE[where], rank=RANK, alpha=2 * RANK, train="logits"))


def torch(shape: str, where: str) -> Callable[[], float]:
    """The same in a process of its own: a line goes in for a step, its seconds come back."""
    script = Path(__file__).parent / "peft_speed_torch.py"
    command = [os.environ["KERAS_TRANSFER_TORCH"], str(script), *map(str, SHAPES[shape]), where]
    environment = {**os.environ, "PYTHONPATH": ""}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    PROCESSES.append(process)

    def step() -> float:
        process.stdin.write("step\n")
        process.stdin.flush()
        return float(process.stdout.readline())

    return step


def side_by_side(shape: str, where: str, rounds: int) -> dict[str, object]:
    ways = {"full": partial(full, shape), "hub": partial(hub, shape, where), "ours": partial(ours, shape, where)}
    if os.environ.get("KERAS_TRANSFER_TORCH"):
        ways["torch"] = partial(torch, shape, where)
    steps = {name: make() for name, make in ways.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(WARM + rounds):
        for name in steps if turn % 2 else reversed(steps):
            took = steps[name]()
            if turn >= WARM:
                seconds[name].append(took)
    while PROCESSES:  # a second one beside it would not find room
        PROCESSES.pop().kill()
    median = {name: statistics.median(each) for name, each in seconds.items()}
    ratios = {f"ours / {name}": round(median["ours"] / value, 3) for name, value in median.items() if name != "ours"}
    return {"rounds": rounds, "step_seconds": {name: round(value, 4) for name, value in median.items()}, **ratios}


if __name__ == "__main__":
    arguments = sys.argv[1:]
    rounds = int(arguments.pop(arguments.index("--rounds") + 1)) if "--rounds" in arguments else 9
    shapes = [one for one in arguments if one in SHAPES] or list(SHAPES)
    rows = {f"{shape}, {where}": partial(side_by_side, shape, where, rounds) for shape in shapes for where in WHERE}
    for key, row in run_rows("peft_speed", rows).items():
        print(key, {name: value for name, value in row.items() if " / " in name}, flush=True)
