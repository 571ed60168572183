"""How long a `.tflite` takes for one picture, through LiteRT on this machine's processor."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .litert import Interpreter

THREADS = (1, 2)
WARM_UP, FEWEST, MOST = 2, 5, 50


def latency(path: str | Path, *, threads: Sequence[int] = THREADS, seconds: float = 0.3) -> dict[str, float]:
    """The median milliseconds of one picture, by number of threads: `{"1": 3.7, "2": 2.1}`.

    Between 5 and 50 pictures, about `seconds` a number of threads.

    Example: `kt.export.latency("model_int8.tflite")["1"]`
    """
    return latencies([path], threads=threads, seconds=seconds)[0]


def latencies(
    paths: Sequence[str | Path], *, threads: Sequence[int] = THREADS, seconds: float = 0.3
) -> list[dict[str, float]]:
    """`latency` of several files, which take turns: a machine that is busy for a moment slows all of them alike."""
    found: list[dict[str, float]] = [{} for _ in paths]
    for number in threads:
        interpreters = [Interpreter(path, number) for path in paths]
        for place, median in enumerate(_medians(interpreters, seconds)):
            found[place][str(number)] = median
    return found


def _medians(interpreters: Sequence[Interpreter], seconds: float) -> list[float]:
    rng = np.random.default_rng(0)
    # Every vocabulary has the tokens 0 and 1, and which they are changes no time.
    pictures = [
        rng.integers(0, 2 if getattr(one, "dtype", "") == "int32" else 256, one.input_shape[1:]) for one in interpreters
    ]
    for interpreter, picture in zip(interpreters, pictures, strict=True):
        for _ in range(WARM_UP):
            interpreter.run(picture)
    times: list[list[float]] = [[] for _ in interpreters]
    end = time.perf_counter() + seconds * len(interpreters)
    while len(times[0]) < FEWEST or (len(times[0]) < MOST and time.perf_counter() < end):
        for interpreter, picture, taken in zip(interpreters, pictures, times, strict=True):
            start = time.perf_counter()
            interpreter.run(picture)
            taken.append(time.perf_counter() - start)
    return [round(float(np.median(taken)) * 1e3, 4) for taken in times]
