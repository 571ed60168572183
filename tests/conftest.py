"""What every test may ask for: the folder of real data, and a quiet TensorFlow."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data and weights: KERAS_TRANSFER_DATA, else `shared/data` beside the repository."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("KERAS_TRANSFER_DATA", default))
    if not (root / "DATA.md").exists():
        pytest.skip(f"no real data at {root}; set KERAS_TRANSFER_DATA")
    return root
