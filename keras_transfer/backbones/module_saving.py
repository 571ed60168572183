"""How a layer around a module is written to a file and read: its folder as assets, and the weights that training changed."""

from pathlib import Path
from typing import Any

import numpy as np

from .module_folder import copy_module, module_hash, own_folder, remember
from .module_parts import digest
from .module_safety import is_trusted


class CarriesModule:
    """What Keras calls of a layer when a model is saved and loaded, for one whose module travels with it."""

    module: Any
    folder: Path
    sha256: str
    name: str
    module_weights: list[Any]
    originals: list[str]
    from_file: dict[int, np.ndarray]

    def _attach(self, folder: Path) -> None:
        raise NotImplementedError

    def forbidden(self, folder: Path) -> list[str]:
        """What the module in `folder` does beside computing."""
        raise NotImplementedError

    def save_own_variables(self, store: Any) -> None:
        """The weights that training changed; the others stand in the module."""
        for index, variable in enumerate(self.module_weights):
            if self.module is None or digest(np.asarray(variable)) != self.originals[index]:
                store[str(index)] = np.asarray(variable)

    def load_own_variables(self, store: Any) -> None:
        """The changed weights of the file, all others as the module has them."""
        given = set(store.keys())
        if not given <= {str(index) for index in range(len(self.module_weights))}:
            raise ValueError(
                f"The file holds weights of another module: this one has {len(self.module_weights)}. Received: {sorted(given)}"
            )
        self.from_file = {int(name): np.asarray(store[name]) for name in given}
        if self.module is not None and len(given) < len(self.module_weights):
            self._attach(self.folder)  # the module's own numbers again, where training had changed them
        for index, value in self.from_file.items():
            self.module_weights[index].assign(value)

    def save_assets(self, path: str) -> None:
        """Copy the module's folder into the file."""
        if self.module is None or module_hash(self.folder) != self.sha256:
            raise ValueError(
                "The module's folder must lie where it was, as it was, so that the file can carry it. "
                f"Received: {str(getattr(self, 'folder', None))!r}"
            )
        copy_module(self.folder, Path(path))

    def load_assets(self, path: str) -> None:
        """Load the module out of the file, when it is the one that the config names, and computes only or is trusted."""
        found = module_hash(Path(path))
        if found != self.sha256:
            raise ValueError(
                f"The file carries another module than its config names, {self.sha256[:12]}...; it was changed. "
                f"Received: {found[:12]}..."
            )
        if self.module is not None:
            return
        if not is_trusted(found) and (does := self.forbidden(Path(path))):
            raise ValueError(
                f"The module in the file does more than compute: {', '.join(does[:6])}. If you know where the file comes from, "
                f"call kt.backbones.trust_module({found!r}) and load it again. Received: layer {self.name!r}"
            )
        folder = own_folder()  # Keras removes its own when loading has ended
        copy_module(Path(path), folder)
        remember(found, folder)
        self._attach(folder)
        for index, value in self.from_file.items():
            self.module_weights[index].assign(value)
