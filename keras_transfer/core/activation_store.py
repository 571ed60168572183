"""What the frozen parts gave before: kept in memory for a second fit, and the picture as it is for whoever asks for that alone."""

from collections import OrderedDict
from typing import NamedTuple

import numpy as np

STORE = 2**29  # bytes


class Kept(NamedTuple):
    """Activations (views, n, ...), the random state after the pass, and the seconds that it took or would have taken."""

    views: np.ndarray
    states: list[np.ndarray]
    seconds: float


class ActivationStore:
    """The activations under their keys, the least used dropped first; `saved` counts the seconds of what was found again.

    A second name, `plain`, finds the first view of any of them: the picture as it is, which is the same whatever was
    drawn for the others, however many they are, and whatever the augmentation is.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._plain: dict[str, str] = {}  # the key of the array whose first view it is
        self.saved = 0.0

    def find(self, key: str) -> Kept | None:
        """What is kept under `key`."""
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        self.saved += self._kept[key].seconds
        return self._kept[key]

    def find_plain(self, plain: str) -> Kept | None:
        """The pictures as they are, one view, wherever they are kept."""
        whole = self.find(key) if (key := self._plain.get(plain)) is not None else None
        if whole is None:
            return None
        seconds = whole.seconds / len(whole.views)
        self.saved -= whole.seconds - seconds
        return Kept(whole.views[:1], [], seconds)

    def keep(self, key: str, plain: str, kept: Kept) -> None:
        """Keep activations whose first view is `plain`, if they are in memory and small enough."""
        if isinstance(kept.views, np.memmap) or kept.views.nbytes > STORE:
            return
        before = self._plain.get(plain, "")
        if before in self._kept and len(self._kept[before].views) == 1:
            del self._kept[before]  # the same view once more
        kept.views.setflags(write=False)  # whoever wrote into them would change what others find
        self._kept[key] = kept
        self._plain[plain] = key
        while sum(one.views.nbytes for one in self._kept.values()) > STORE:
            self._kept.popitem(last=False)

    def forget(self) -> None:
        """Drop everything."""
        self._kept.clear()
        self._plain.clear()
