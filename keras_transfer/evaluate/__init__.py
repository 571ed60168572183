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
    "plot_calibration": ".diagrams",
    "plot_strategies": ".diagrams",
    "show_predictions": ".plots",
    "write_report": ".report",
    "write_scan_page": ".scan_page",
    "compare": ".side_by_side",
    "advise": ".advisor",
    "Advice": ".advice",
    "Comparison": ".comparison",
    "read_comparison": ".comparison",
}
__all__ = [*_NAMES]
__getattr__, __dir__ = attach(__name__, _NAMES)
