"""A folder of pictures with known classes, to judge a finished model on: no splitting, no rules about training."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..core.messages import nearest
from .folders import read_folder
from .pictures import Pictures
from .reading import read, refuse_unreadable
from .resize import check_image_size, check_resize


def load_labelled(
    path: str | Path,
    class_names: Sequence[str],
    *,
    image_size: int | tuple[int, int],
    resize: str = "squash",
    channels: int = 3,
    on_bad: str = "raise",
    show_progress: bool | None = None,
) -> tuple[str, Pictures, list[tuple[str, str]]]:
    """Read the pictures below `path` with the labels of a model: the split's name, the pictures, and what was skipped.

    Of a folder with split folders the test split is read, else validation; without split folders everything ("all").
    A class folder that is none of `class_names` is a `ValueError` with the nearest; classes may be missing.

    Example: `split, pictures, skipped = load_labelled("new_photos/", ["ants", "bees"], image_size=224)`
    """
    size, how = check_image_size(image_size), check_resize(resize)
    folder = read_folder(path, least_classes=1)
    for name in folder.class_names:
        if name not in class_names:
            raise ValueError(
                f"The model does not know the class {name!r}; name class folders as in training. {nearest(name, class_names)} "
                f"Received: {str(path)!r}"
            )
    given = folder.given_splits
    wanted = next((split for split in ("test", "validation", "train") if split in given), None)
    rows = [row for row, split in enumerate(folder.splits) if split == wanted]
    names, paths = [folder.names[row] for row in rows], [folder.paths[row] for row in rows]
    found = read(names, paths, image_size=size, how=how, channels=channels, show_progress=show_progress)
    skipped = [(names[at], reason) for at, reason in enumerate(found.reasons) if reason]
    if on_bad == "raise":
        refuse_unreadable(skipped, folder.root)
    good = [at for at, reason in enumerate(found.reasons) if not reason]
    if not good:
        raise ValueError(f"No picture is left to judge the model on. Received: {str(path)!r}")
    label_of = [class_names.index(name) for name in folder.class_names]
    pictures = Pictures(
        found.pixels,
        np.array(good),
        [names[at] for at in good],
        np.array([label_of[folder.labels[rows[at]]] for at in good]),
        found.keys,
        num_classes=len(class_names),
        one_hot=False,
        recipe=f"{size} {channels} {how} files",
    )
    return wanted or "all", pictures, skipped
