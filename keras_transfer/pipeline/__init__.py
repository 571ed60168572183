"""Floor 4: words become objects, a fit, and a run folder; nothing is decided here that a lower floor could decide."""

from ..core.lazy import attach

_NAMES = {
    "fit": ".training",
    "RunSummary": ".training",
    "write_run": ".writing",
    "evaluate_run": ".runs",
    "export_run": ".exporting",
    "compress_run": ".exporting",
    "list_runs": ".runs",
    "report_run": ".reporting",
    "compare_folder": ".comparing",
    "advise_folder": ".advising",
    "RunFailed": ".folder",
    "run_folder": ".folder",
    "free_name": ".folder",
}
__all__ = [*_NAMES]
__getattr__, __dir__ = attach(__name__, _NAMES)
