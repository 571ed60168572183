"""Run an exported `.tflite` with NumPy, Pillow and ai_edge_litert alone: a start takes a blink, not TensorFlow."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..core.files import sha256
from ..core.stderr import held_back
from ..data.resize import load_picture, resize
from . import text_io
from .io_json import NAME, read_io, reference_of


class Interpreter:
    """A LiteRT interpreter on a static batch of one; `run` takes a picture (or token ids) and gives its probabilities."""

    def __init__(self, path: str | Path, num_threads: int | None = None) -> None:
        from ai_edge_litert.interpreter import Interpreter as LiteRT

        with held_back():  # LiteRT tells stderr which delegate it took
            self._interpreter = LiteRT(str(path), num_threads=num_threads)
            self._interpreter.allocate_tensors()
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != 1:
            raise ValueError(
                f"A classifier has one input and one output. Received: {len(inputs)} inputs and {len(outputs)} outputs"
            )
        self._input, self._output = inputs[0]["index"], outputs[0]["index"]
        self.dtype = np.dtype(inputs[0]["dtype"]).name
        self.input_shape = tuple(int(size) for size in inputs[0]["shape"])
        self.output_shape = tuple(int(size) for size in outputs[0]["shape"])

    def run(self, picture: np.ndarray) -> np.ndarray:
        """Probabilities (classes,) of one picture (height, width, channels), 0..255, or of token ids (length,)."""
        self._interpreter.set_tensor(self._input, np.asarray(picture, self.dtype)[None])
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output)[0].astype("float32")


class LiteRTModel:
    """An exported classifier with its labels and its way to resize, read from the `io.json` beside the file.

    `num_threads` is LiteRT's. On loading, the reference picture of `io.json` is run, and a file that gives another
    answer is refused: float32 further than 1e-4 from Keras' answer; float16 1e-2, dynamic and int8 0.2 from what the
    file itself gave when it was exported (these round, and not every processor rounds alike). Raises `ValueError`
    without `io.json`, and where file and `io.json` do not belong together.

    Example: `LiteRTModel("saved_models/ants/model_float32.tflite").predict(["ant.jpg"])`
    """

    def __init__(self, path: str | Path, num_threads: int | None = None) -> None:
        path = Path(path)
        if not path.is_file():
            raise ValueError(f"There must be a .tflite file to load. Received: {str(path)!r}")
        beside = path.with_name(NAME)
        if not beside.is_file():
            raise ValueError(
                f"A .tflite needs the {NAME} that was exported with it, at {str(beside)!r}; copy both. "
                f"Received: {str(path)!r} alone"
            )
        self.path, self.io = path, read_io(beside)
        self.labels: tuple[str, ...] = tuple(self.io["output"]["labels"])
        given = self.io["input"]
        self.reads_texts: bool = given["name"] == text_io.NAME
        if self.reads_texts:
            self.max_length: int = given["max_length"]
            self.pad_id: int = given["pad_id"]
        else:
            self.image_size: tuple[int, int] = tuple(given["image_size"])
            self.channels: int = given["channels"]
            self.resize: str = given["resize"]
        entry = self._entry()
        self.precision: str = entry["precision"]
        self._interpreter = Interpreter(path, num_threads)
        self._check(entry)

    def predict(self, pictures: Any) -> np.ndarray:
        """Class probabilities, float32 (n, classes), in the order of `labels`.

        pictures: a path or the bytes of a picture file, a picture (h, w, c), or several of these (also one array
        (n, h, w, c)). Pixels are 0..255; uint8 pictures of another size are resized as the training pictures were. A text
        model takes token ids, (length,) or several, or texts, which its tokenizer beside the file turns into them.
        """
        if self.reads_texts:
            from .litert_texts import as_token_ids  # texts need keras-hub; token ids need nothing

            ids = as_token_ids(self, pictures)
            return (
                np.stack([self._interpreter.run(one) for one in ids])
                if len(ids)
                else np.zeros((0, len(self.labels)), "float32")
            )
        single = isinstance(pictures, (str, Path, bytes)) or (isinstance(pictures, np.ndarray) and pictures.ndim < 4)
        several: Iterable[Any] = [pictures] if single else pictures
        answers = [self._interpreter.run(self._picture(one)) for one in several]
        return np.stack(answers) if answers else np.zeros((0, len(self.labels)), "float32")

    def _picture(self, source: Any) -> np.ndarray:
        if isinstance(source, (str, Path, bytes)):
            return load_picture(source, self.image_size, self.resize, self.channels)
        picture = np.asarray(source)
        picture = picture[..., None] if picture.ndim == 2 else picture
        if picture.ndim != 3 or picture.shape[-1] != self.channels:
            raise ValueError(
                f"A picture for this model has shape (height, width, {self.channels}). Received: {picture.shape}"
            )
        if picture.shape[:2] == self.image_size:
            return picture
        return resize(picture, self.image_size, self.resize)

    def _entry(self) -> dict[str, Any]:
        """The entry of this very file: found by its hash, so that a renamed file is still known."""
        digest = sha256(self.path)
        for entry in self.io["files"].values():
            if entry["sha256"] == digest:
                return entry
        raise ValueError(
            f"The file and the {NAME} beside it do not belong together: no entry has this file's hash. Copy both from "
            f"one export, or export again. Received: {str(self.path)!r}, sha256 {digest[:12]}..."
        )

    def _check(self, entry: dict[str, Any]) -> None:
        shapes = (self._interpreter.input_shape, self._interpreter.output_shape)
        wanted = (tuple(self.io["input"]["shape"]), tuple(self.io["output"]["shape"]))
        if shapes != wanted:
            raise ValueError(
                f"The shapes of the file must be those of {NAME}, {wanted}; export again. "
                f"Received: {shapes} in {str(self.path)!r}"
            )
        tolerance = entry["tolerance"]
        picture, expected = reference_of(self.io)
        expected = np.asarray(entry.get("expected", expected), "float32")
        difference = float(np.max(np.abs(self._interpreter.run(picture) - expected)))
        if not difference <= tolerance:
            raise ValueError(
                f"The file must answer the reference picture of {NAME} within {tolerance:g}; file and "
                f"{NAME} do not belong together, so export again. "
                f"Received: a difference of {difference:.3g} from {str(self.path)!r}"
            )
