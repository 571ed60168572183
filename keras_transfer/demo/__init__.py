"""Floor 4: the embedded demo, from printed letters to handwritten digits without a download."""

from ..core.lazy import attach

_NAMES = {"run_demo": ".show", "glyph_backbone": ".backbone"}
__all__ = [*_NAMES]
__getattr__, __dir__ = attach(__name__, _NAMES)
