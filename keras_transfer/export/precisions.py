"""The number formats of an exported file, and what a file in each of them has to prove."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Precision:
    """One number format. `saves` is what it does to the weights, for people.

    A file passes its certificate where no class probability differs by more than `max_difference` from the Keras
    model's, and where the share of pictures with Keras' top class is at least `least_agreement`; None asks for nothing.
    `load_tolerance` is how far another machine's answer to the reference picture may lie from the one on record.
    """

    max_difference: float | None
    least_agreement: float | None
    load_tolerance: float
    saves: str


# In the order of the ladder, from exact to small. Kernels that quantise what flows through the network differ between
# LiteRT's delegates: MobileNetV2 1.0 answers 40 photos within 0.07 (dynamic) and 0.055 (int8) with and without XNNPACK.
PRECISIONS = {
    "float32": Precision(1e-4, 1.0, 1e-4, "weights in 32 bits"),
    "float16": Precision(1e-2, None, 1e-2, "weights in 16 bits, half the bytes"),
    "dynamic": Precision(None, 0.95, 0.2, "weights in 8 bits, a quarter of the bytes"),
    "int8": Precision(None, 0.95, 0.2, "weights and activations in 8 bits, a quarter of the bytes, fastest"),
}
SLACK_BELOW = 100  # pictures: one disagreement is forgiven where a single picture weighs more than a hundredth


def allowed_disagreements(least_agreement: float, pictures: int) -> int:
    """How many of the pictures may get another top class: `floor((1 - least) n)`, one more below 100 pictures.

    An agreement of 1.0 means all of them, however few they are.
    """
    if least_agreement >= 1.0:
        return 0
    return int((1.0 - least_agreement) * pictures + 1e-9) + (pictures < SLACK_BELOW)


def check_precision(precision: object) -> str:
    """`precision` as it is, or a `ValueError` that names those there are."""
    if not isinstance(precision, str) or precision not in PRECISIONS:
        raise ValueError(
            f"The precisions that can be exported are {', '.join(map(repr, PRECISIONS))}. Received: {precision!r}"
        )
    return precision
