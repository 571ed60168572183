"""Settings in a YAML file: read with what the command line says on top, written with what made the run."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..core.files import atomic_write, sha256
from .checking import make_config
from .run_config import RunConfig

RESOLVED_BY = "resolved_by"  # the key under which a written file says what made it; passed over on reading
PACKAGES = ("keras-transfer", "tensorflow", "keras", "keras-hub", "ai-edge-litert", "numpy", "pillow")


def read_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """Read a YAML file of settings; `overrides` (the options given on the command line) win over it."""
    import yaml

    if not Path(path).is_file():
        raise FileNotFoundError(f"The file of settings must exist. Received: {str(path)!r}")
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" (line {where.line + 1})" if where else ""
        raise ValueError(f"Settings must be YAML, `key: value` a line{line}. Received: {str(path)!r}") from None
    values = {} if values is None else values
    if not isinstance(values, dict):
        found = type(values).__name__
        raise ValueError(f"Settings must be `key: value` lines. Received: {str(path)!r} with a {found}")
    values.pop(RESOLVED_BY, None)
    try:
        return make_config({**values, **(overrides or {})})
    except ValueError as error:
        raise ValueError(f"{error} (settings in {path})") from None


def write_config(path: str | Path, config: RunConfig, extra: Mapping[str, Any] | None = None) -> Path:
    """Write every setting, resolved, so that `fit --config` can read it again; below them what the run was made with.

    That is the versions of the packages, the hash of a local weights file, and `extra`, all under `resolved_by`.
    """
    import yaml

    made_with: dict[str, Any] = {"versions": versions()}
    if Path(config.weights).is_file():
        made_with["weights_sha256"] = sha256(config.weights)
    made_with.update(extra or {})
    text = "# The settings of this run, all of them.\n"
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in config}
    text += yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    text += yaml.safe_dump({RESOLVED_BY: made_with}, sort_keys=False, allow_unicode=True)
    return atomic_write(path, text)


def versions() -> dict[str, str]:
    """The installed versions of the packages that a result depends on, and of Python."""
    import platform

    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
