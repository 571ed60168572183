"""The certificate of an export: on held-out pictures the file answers as the Keras model does, or it is not shipped."""

import html
from dataclasses import asdict, dataclass, replace
from typing import Any

from .precisions import PRECISIONS, allowed_disagreements


@dataclass(frozen=True)
class Certificate:
    """What was compared and how it came out.

    `split` names the pictures: "test", "validation", "given", or "random" where there were none. `max_difference` is
    the largest absolute difference of a class probability, at most `tolerance`; `top1_agreement` the share of pictures
    with the same top class, at least `least_agreement` (one picture of slack below 100 pictures, unless it is 1.0);
    disagreements where the top two Keras probabilities lie within 1e-4 are `ties` and do not count. Of `tolerance` and
    `least_agreement` None asks for nothing. `accuracy_before` and `accuracy_after` are those of the Keras model and of
    the file, where the pictures have labels. `latency_ms` is the median time of a picture through LiteRT by number of
    threads, `float32_latency_ms` that of the float32 file beside it, measured in turns with it. `calibration` counts
    the training pictures of int8. Of a text model `pictures` counts texts, and `length` is that of
    its token ids in place of `image_size` and `resize`. A figure that could not be measured is None, and `reason` says why.
    """

    precision: str
    file: str
    passed: bool
    reason: str | None
    pictures: int
    split: str
    max_difference: float | None
    tolerance: float | None
    top1_agreement: float | None
    ties: int
    bytes: int
    sha256: str | None
    image_size: tuple[int, int] | None
    resize: str | None
    least_agreement: float | None = None
    accuracy_before: float | None = None
    accuracy_after: float | None = None
    latency_ms: dict[str, float] | None = None
    float32_latency_ms: dict[str, float] | None = None
    calibration: int | None = None
    length: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The certificate as `certificate.json` holds it: of pictures with their size, of texts with their length."""
        found = asdict(self)
        if self.image_size is None:
            return {key: value for key, value in found.items() if key not in ("image_size", "resize")}
        found.pop("length")
        return {**found, "image_size": list(self.image_size)}

    @property
    def noun(self) -> str:
        """What it was compared on: "picture" or "text"."""
        return "picture" if self.image_size else "text"

    def __str__(self) -> str:
        verdict = "passed" if self.passed else f"FAILED: {self.reason}"
        lines = [
            f"{self.file} ({self.precision}, {self.bytes / 1e3:,.0f} kB): {verdict}",
            f"  largest probability difference {_figure(self.max_difference, '.2g', self.tolerance, 'at most')}, "
            f"top-1 agreement {_figure(self.top1_agreement, '.4f', None, '')}{self._allowed()}"
            f"{f' ({self.ties} ties)' if self.ties else ''} on {self.pictures} {self.split} {self._what()}",
        ]
        if self.accuracy_before is not None and self.accuracy_after is not None:
            lines.append(f"  accuracy {self.accuracy_after:.4f}, the Keras model's {self.accuracy_before:.4f}")
        if self.latency_ms:
            beside = f"; float32 {in_words(self.float32_latency_ms, self.noun)}" if self.float32_latency_ms else ""
            lines.append(f"  {in_words(self.latency_ms, self.noun)}{beside}")
        return "\n".join(lines)

    def _what(self) -> str:
        """What it was measured on."""
        if self.image_size is None:
            return f"texts of {self.length} tokens"
        return f"pictures, {self.image_size[0]} x {self.image_size[1]}, {self.resize}"

    def _allowed(self) -> str:
        """How many pictures got another top class, and how many may."""
        if self.top1_agreement is None or self.least_agreement is None:
            return ""
        other = round((1.0 - self.top1_agreement) * self.pictures)
        return f" ({other} differ, at most {allowed_disagreements(self.least_agreement, self.pictures)} may)"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{key}</th><td>{html.escape(str(value))}</td></tr>"
            for key, value in self.to_dict().items()
        )
        return f"<table><tbody>{rows}</tbody></table>"


class CertificateError(RuntimeError):
    """An export that did not prove itself; `.certificate` holds the reason, and no file was left."""

    def __init__(self, certificate: Certificate) -> None:
        self.certificate = certificate
        super().__init__(
            f"The {certificate.precision} export failed its certificate and was not kept: {certificate.reason}"
        )


def blank_certificate(
    file: str, precision: str, image_size: tuple[int, ...] | None, resize: str | None, split: str,
    calibration: int | None = None, length: int | None = None,
) -> Certificate:  # fmt: skip
    """A certificate before anything was measured, which has not passed."""
    size, asks = (int(image_size[0]), int(image_size[1])) if image_size else None, PRECISIONS[precision]
    return Certificate(
        precision, file, False, "not measured", 0, split, None, asks.max_difference, None, 0, 0, None, size, resize,
        least_agreement=asks.least_agreement, calibration=calibration, length=length,
    )  # fmt: skip


def failed(blank: Certificate, error: BaseException) -> Certificate:
    """A certificate for a model that could not be converted at all."""
    return replace(blank, reason=f"The converter refused the model: {first_line(error)}")


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]


def in_words(milliseconds: dict[str, float], noun: str = "picture") -> str:
    """A latency for people: `3.66 ms a picture on 1 thread, 2.1 ms on 2`."""
    (first, value), *rest = milliseconds.items()
    thread = f"{value:.3g} ms a {noun} on {first} thread{'' if first == '1' else 's'}"
    return ", ".join([thread, *(f"{value:.3g} ms on {number}" for number, value in rest)])


def _figure(value: float | None, form: str, bound: float | None, word: str) -> str:
    if value is None:
        return "not measured"
    return format(value, form) + (f" ({word} {bound:g})" if bound is not None else "")
