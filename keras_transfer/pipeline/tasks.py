"""The two tasks of the pipeline behind one set of functions: what differs between pictures and texts, and nothing else."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..config import TASKS, RunConfig


class Task(Protocol):
    """What `pipeline.images` and `pipeline.texts` both hold."""

    NOUN: str

    def resolve(self, config: RunConfig) -> dict[str, Any]:
        """The settings that the config leaves open, resolved; what cannot be is refused before anything heavy is loaded."""
        ...

    def read(self, config: Mapping[str, Any], show_progress: bool | None = None) -> Any:
        """The data that a resolved config names, split."""
        ...

    def read_for(self, config: Mapping[str, Any], model: Any) -> Any:
        """The same for a model that is there."""
        ...

    def describe(self, config: RunConfig, data: Any) -> tuple[str, str]:
        """What goes into the model, and how it is trained, in words."""
        ...

    def build(self, config: RunConfig, data: Any) -> Any:
        """The classifier that the config names, ready to be fitted."""
        ...

    def train(self, config: RunConfig, model: Any, data: Any, settings: dict[str, Any]) -> Any:
        """Fit as the config says; the history comes back."""
        ...

    def ready(self, data: Any, model: Any) -> Any:
        """The data as the model takes it."""
        ...

    def finish(self, config: RunConfig, model: Any, folder: Path) -> Any:
        """The model that the run is to hold."""
        ...

    def settings(self, config: RunConfig) -> dict[str, Any]:
        """What the strategies of this task are told beside what all are."""
        ...

    def sample(self, split: Any) -> Callable[[int], Any]:
        """What gives the sample at an index, for the report."""
        ...

    def reader(self, run: Path, config: Mapping[str, Any], place: str) -> Callable[[int], Any]:
        """What gives the sample of a line of `predictions.csv`, read again from `place`, without TensorFlow."""
        ...

    def labelled(
        self,
        config: Mapping[str, Any],
        model: Any,
        data: str | Path,
        names: Sequence[str],
        on_bad: str,
        show: bool | None,
    ) -> tuple[str, Any, Sequence[tuple[str, str]]]:
        """Other data to judge a model on: the split, its samples, and what was skipped."""
        ...


def task_of(config: RunConfig | Mapping[str, Any]) -> Task:
    """The functions for the task of a config; one that a former version wrote is of pictures."""
    name = config.task if isinstance(config, RunConfig) else config.get("task", "images")
    from . import images, texts

    return texts if name == "text" else images  # type: ignore[return-value]


def noun_of(config: Mapping[str, Any]) -> str:
    """What a sample is called."""
    return TASKS[config.get("task") or "images"].noun
