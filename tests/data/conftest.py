"""Small folders of pictures, written where a test wants them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Write = Callable[..., Path]


def noise(seed: int, height: int = 12, width: int = 16) -> np.ndarray:
    """Pixels that no other seed has."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write({"ants/a.png": 1, ...})` writes files below one folder: a number is a seed for noise, bytes are bytes."""

    def make(files: dict[str, int | bytes | np.ndarray | None], folder: str = "photos") -> Path:
        root = tmp_path / folder
        root.mkdir(exist_ok=True)
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.mkdir()
            elif isinstance(content, bytes):
                path.write_bytes(content)
            else:
                Image.fromarray(noise(content) if isinstance(content, int) else content).save(path)
        return root

    return make


@pytest.fixture
def photos(write: Write) -> Path:
    """Two classes: 10 ants and 5 bees, all different."""
    ants = {f"ants/{i}.png": i for i in range(10)}
    return write({**ants, **{f"bees/{i}.png": 100 + i for i in range(5)}})
