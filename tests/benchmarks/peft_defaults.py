"""At which rate each method is tuned by default: TREC, a fifth of train held out, MiniLM, 3 epochs.

`python tests/benchmarks/peft_defaults.py [METHOD ...] [--seeds N]`. What is chosen here is proved elsewhere, on SST-2 (`sst2.py`).
"""

import json
import os
import statistics
import subprocess
import sys
from functools import partial

from harness import mean_spread, run_rows
from sst2 import data, tuned

RATES = {
    "lora": (3e-4, 1e-3, 3e-3),
    "pfeiffer": (3e-4, 1e-3, 3e-3),
    "prefix": (1e-3, 3e-3, 1e-2),
    "prompt": (3e-3, 1e-2, 3e-2),
    "ia3": (3e-3, 1e-2),
    "bitfit": (1e-3, 3e-3),
}


def one(method: str, rate: float, seed: int) -> dict[str, float]:
    import keras_transfer as kt

    texts = data(seed, "trec")
    found, _ = tuned(method, seed, texts, rate)
    return {"accuracy": round(kt.evaluate(found, texts.tokenized(found).splits["validation"]).accuracy, 4)}


def apart(method: str, rate: float, seed: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", method, str(rate), str(seed)]
    done = subprocess.run(command, env={**os.environ}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[:1] == ["--one"]:
        print(json.dumps(one(arguments[1], float(arguments[2]), int(arguments[3]))))
        sys.exit()
    seeds = range(int(arguments.pop(arguments.index("--seeds") + 1)) if "--seeds" in arguments else 2)
    arguments = [one for one in arguments if one != "--seeds"]
    asked = [(method, rate) for method in arguments or RATES for rate in RATES[method]]
    keys = {f"{m}, {rate:g}, seed {seed}": partial(apart, m, rate, seed) for m, rate in asked for seed in seeds}
    rows = run_rows("peft_defaults", keys)
    for method, rate in asked:
        found = [rows[f"{method}, {rate:g}, seed {seed}"]["accuracy"] for seed in seeds]
        print(f"{method:<12} {rate:<8g} {mean_spread(found)}", statistics.mean(found), flush=True)
