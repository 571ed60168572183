"""Floor 3: what came of it. Metrics, plots, and the report of a run."""

from ..core.lazy import attach

_NAMES = {
    "evaluate": ".metrics",
    "Report": ".metrics",
    "report_from": ".metrics",
    "write_predictions": ".predictions",
    "read_predictions": ".predictions",
    "plot_history": ".plots",
    "plot_confusion": ".plots",
    "show_predictions": ".plots",
    "write_report": ".report",
}
__all__ = [*_NAMES]
__getattr__, __dir__ = attach(__name__, _NAMES)
