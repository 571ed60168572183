"""`compare`: the strategies side by side on the same pictures and seeds, frozen features computed once for all of them."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from ..core.activations import saved_seconds
from ..core.files import write_json
from ..core.freezing import trainable_report
from ..core.progress import on_terminal
from ..core.registry import get
from ..export import CertificateError, export_tflite, inference_model
from ..export.tflite import check_path
from .asked import CLOSED, SCRATCH, check_seeds, check_settings, check_strategies
from .comparison import Comparison, make_row, ranked
from .contender import contender
from .finished_rows import NAME, conditions, finished
from .metrics import evaluate


def compare(
    data: Any,
    *,
    backbone: str | keras.Model | Mapping[str, str | Path | keras.Model | None] = "mobilenet_v2",
    weights: str | Path | None = "imagenet",
    strategies: Sequence[str] | None = None,
    seeds: int | Sequence[int] = 3,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    augmentation: str = "light",
    preprocessing: str | keras.layers.Layer | None = None,
    export: bool = True,
    output: str | Path | None = None,
    title: str = "",
    show: bool | None = None,
) -> Comparison:
    """Train every strategy on the same split and seeds, and set accuracy beside what it costs.

    The test split judges where `data` has one, and each strategy keeps its best epoch by the validation split; without
    a test split the validation pictures judge, and choose nothing: every epoch is run and the last is kept. Frozen
    features are computed once and shared by the rows; a row's `seconds` are those that it takes by itself.

    Args:
        data: an `ImageData`, as `kt.load_images` gives it.
        backbone: a name of the catalogue, a model of your own (each row takes a copy), or several by name with their weights,
            `{"mobilenet_v2": path, "mine": model}`.
        weights: as in `build_classifier`, for a name of the catalogue. The row "scratch" is built without.
        strategies: names of registered strategies and "scratch"; by default nearest mean, linear probe, head on frozen
            features, partial, progressive (staged), layer-wise, full, and from scratch, and whatever else is registered.
        seeds: how many, from 0 on, or which. A strategy without randomness runs once.
        settings: settings by strategy, for example `{"full": {"epochs": 10}}`; "*" is for all that train by epochs.
        augmentation, preprocessing: as in `build_classifier`; preprocessing is for models of your own.
        export: also write the float32 `.tflite` of each row to a temporary folder, for its bytes and latency. A row that
            was finished without is trained again.
        output: a folder for `comparison.json`, written after every row; a second start goes on where the first ended.
        show: print a line a row; None does so where a person watches.

    Returns a `Comparison`. Raises `ValueError` for unknown names, for `keep="best"` without a test split, and for an
    `output` that holds another comparison.

    Example: `print(kt.compare(data, weights="mobilenet_v2.weights.h5", strategies=["linear_probe", "progressive"]))`
    """
    if not hasattr(data, "image_size"):  # texts have none
        raise TypeError(
            f"`data` must be an ImageData; read a folder with kt.load_images. Received: {type(data).__name__}"
        )
    bases: dict[str, Any] = {str(backbone): weights}
    if isinstance(backbone, (Mapping, keras.Model)):
        bases = dict(backbone) if isinstance(backbone, Mapping) else {backbone.name: backbone}
    names = check_strategies(strategies, bases)
    chosen = check_seeds(seeds)
    given = check_settings(settings, names, "test" in data.splits)
    if export:
        check_path("model_float32.tflite")
    split, held_out = data.held_out
    parts = {"augmentation": augmentation, "preprocessing": preprocessing}
    say = print if (on_terminal() if show is None else show) else _silent
    told = conditions(data, bases, chosen, given, parts)
    done = finished(output, told, export)
    started, before = time.perf_counter(), sum(row["took"] for row in done.values())
    for base, file in bases.items():
        for name in names:
            key = f"{base}/{name}"
            if key in done:
                say(f"{key}: there already, {done[key]['accuracy']:.3f}")
                continue
            begun = time.perf_counter()
            runs, model = _runs(base, file, name, data, chosen, given, parts)
            exported = _export(model, data) if export else None
            done[key] = {**make_row(base, name, runs, exported), "took": time.perf_counter() - begun}
            say(f"{key}: {done[key]['accuracy']:.3f} in {done[key]['took']:.0f} s")
            result = _result(done, split, held_out, before + time.perf_counter() - started, title, told)
            if output is not None:
                write_json(Path(output) / NAME, result.to_dict())
    return _result(done, split, held_out, before + time.perf_counter() - started, title, told)


def _result(done: dict[str, Any], split: str, held_out: Any, seconds: float, title: str, told: Any) -> Comparison:
    return Comparison(ranked(list(done.values())), split, len(held_out), seconds, title, told)


def _runs(
    base: str, weights: Any, name: str, data: Any, seeds: Sequence[int], given: Mapping[str, Any], parts: Any
) -> tuple[list[dict[str, Any]], keras.Model]:
    """One strategy with every seed: which held-out pictures it got right, its seconds, and the last model."""
    strategy: Callable[..., Any] = get("strategy", "full" if name == SCRATCH else name)
    settings = {**({} if name in CLOSED else given.get("*", {})), **given.get(name, {})}
    if name not in CLOSED and "test" not in data.splits:
        settings = {"keep": "last", **settings}
    runs, model = [], None
    for seed in seeds[:1] if name in CLOSED else seeds:
        keras.utils.set_random_seed(seed)
        model = contender(base, weights, data, scratch=name == SCRATCH, **parts)
        saved, begun = saved_seconds(), time.perf_counter()
        strategy(model, data, **{"seed": seed, "verbose": 0, **settings})
        seconds, shared = time.perf_counter() - begun, saved_seconds() - saved
        report = evaluate(model, data)
        runs.append(
            {
                "correct": report.predicted == report.targets,
                "seconds": seconds + shared,
                "shared": shared,
                "trainable": trainable_report(model).trainable,
            }
        )
    return runs, model


def _export(model: keras.Model, data: Any) -> dict[str, Any]:
    """Bytes and latency of the file; one that fails its certificate is told, and costs no row that was trained."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = export_tflite(inference_model(model), Path(folder) / "model_float32.tflite", data=data)
        except CertificateError as error:
            found = error.certificate
    latency = found.latency_ms["1"] if found.latency_ms else None
    return {"bytes": found.bytes or None, "latency_ms": latency, "unproven": found.reason}


def _silent(text: str) -> None:
    pass
