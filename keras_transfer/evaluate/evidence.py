"""The evidence of `advise` in sentences: what was measured and what it means, and what to look at first."""

from typing import Any

from .advice import Evidence
from .look import Look, differs
from .probe import SHARES
from .thresholds import FOLKLORE, NEAREST, TUNED, prior, value


def evidence(look: Look, found: dict[str, Any]) -> list[Evidence]:
    """The lines that speak for the recommendation, each with its figures."""
    figures = found["figures"]
    lines = [Evidence("probe", _curve(look, found)), Evidence("labels", _labels(found))]
    signal = found["signal"]
    verb = "carry signal" if signal["p"] <= value("signal") else "show no signal"
    lines.append(
        Evidence(
            "signal",
            f"Shuffled labels give {signal['chance']:.3f} balanced accuracy, the real ones {signal['score']:.3f} "
            f"(p = {signal['p']:.3f}): the features {verb}.",
        )
    )
    near = found["nearest"]
    expected = prior(NEAREST, figures.labels_a_class)
    lines.append(
        Evidence(
            "nearest mean",
            f"The nearest mean scores {_points(near.mean)} ± {_points(near.deviation, False)} points against the probe "
            f"({_points(expected.mean)} ± {_points(expected.deviation, False)} on other data at so many labels a class).",
        )
    )
    if found["random"] is not None:
        lines.append(
            Evidence(
                "pretrained",
                f"On the features of an untrained network the probe scores {_points(found['random'].mean)} points: "
                + (
                    "the pretrained weights help."
                    if -found["random"].mean >= value("random")
                    else "the pretrained weights hardly help."
                ),
            )
        )
    lines.append(Evidence("fine-tuning", _pilot(found)))
    ranking = found["ranking"]
    lines.append(
        Evidence(
            "ranking",
            f"H-score {ranking['h_score']:.2f} (shrunk, at most {figures.classes - 1}), LogME {ranking['log_me']:.3f}: to set "
            "beside those of other backbones, higher is better.",
        )
    )
    return lines


def warnings(look: Look, found: dict[str, Any]) -> list[Evidence]:
    """What to look at before any training."""
    lines = []
    noise = found["noise"]
    if noise["surest_low"] > value("noise") and noise["surest"] >= value("noise_share") * noise["disagreement"]:
        some = ", ".join(noise["suspects"][:3])
        look_at = f" Look at {some}{', ...' if len(noise['suspects']) > 3 else '.'}" if some else ""
        lines.append(
            Evidence(
                "labels",
                f"Labels may be wrong: where the probe is surest, {noise['surest']:.0%} are contradicted "
                f"({noise['surest_low']:.0%} to {noise['surest_high']:.0%}).{look_at}",
            )
        )
    if look.balanced:
        counts = look.counts
        lines.append(
            Evidence(
                "imbalance",
                f"The largest class has {counts.max()} pictures, the smallest {counts.min()}: balanced accuracy judges here; "
                "consider class_weight='balanced'.",
            )
        )
    for split, one in found["shift"].items():
        if differs(one):
            then = "; they alone judge here" if split == "validation" else ", so expect less there"
            lines.append(
                Evidence(
                    "shift",
                    f"The {split} pictures can be told from the others ({one['score']:.0%} right, 50 % is chance){then}.",
                )
            )
    report = getattr(look.data, "scan", None)
    for finding in report.errors + report.warnings if report is not None else ():
        lines.append(Evidence("scan", f"{finding.text} ({finding.count})"))
    if found["figures"].labels_a_class < 10:
        lines.append(
            Evidence(
                "few labels",
                "Fewer than ten labels a class: another draw of them would move every figure here; more labels are worth "
                "more than any strategy.",
                FOLKLORE,
            )
        )
    return lines


def _curve(look: Look, found: dict[str, Any]) -> str:
    rows = found["curve"]
    linear = found["linear"]
    less = ", ".join(f"{row['score']:.3f} with {share:.0%}" for row, share in zip(rows[:-1], SHARES, strict=False))
    measure = "balanced accuracy" if look.balanced else "accuracy"
    judged = int(look.table.judged.sum())
    return (
        f"A linear probe on frozen features reaches {measure} {linear.mean:.3f} ± {linear.deviation:.3f} on {judged} pictures "
        f"that it was not trained on, with {rows[-1]['pictures']} labels; {less} of them."
    )


def _labels(found: dict[str, Any]) -> str:
    gain = found["curve"][-1]["score"] - found["curve"][-2]["score"]
    means = "more labels should still help" if gain > 2 * value("margin") else "more labels of this kind help little"
    return f"From 30 % to all labels the probe gains {_points(gain)} points: {means}."


def _pilot(found: dict[str, Any]) -> str:
    figures, tried = found["figures"], found["pilot"]
    before = prior(TUNED, figures.labels_a_class)
    known = (
        f"{_points(before.mean)} ± {_points(before.deviation, False)} points on other data at so many labels a class"
    )
    if tried is None:
        return f"No pilot was run; fine-tuning scored {known}."
    gain = found["tuned"]
    return (
        f"Fine-tuned ({tried['strategy']}, {tried['epochs']} epochs, {tried['pictures']} pictures, {tried['folds']} fold(s)) it "
        f"scores {_points(gain.mean)} ± {_points(gain.deviation, False)} points against the probe on the same pictures ({known})."
    )


def _points(share: float, sign: bool = True) -> str:
    return f"{100 * share:+.1f}" if sign else f"{100 * share:.1f}"
