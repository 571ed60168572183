"""TF-Hub modules as folders: from a folder, an archive or a handle; their hash, and copies that hold nothing else."""

import atexit
import hashlib
import importlib
import shutil
import tarfile
import tempfile
from pathlib import Path
from urllib.parse import quote

MODEL = "saved_model.pb"
_ARCHIVES = (".tar.gz", ".tgz", ".tar")
_TFHUB = "https://tfhub.dev/"
_KAGGLE = ("https://www.kaggle.com/models/", "https://kaggle.com/models/", "kaggle://")
_known: dict[str, Path] = {}  # hash -> folder


def open_module(source: str | Path) -> Path:
    """The folder of a module: itself, or where its archive or handle was unpacked; `ValueError` for anything else.

    source: a folder with `saved_model.pb` in it, a `.tar.gz` of one, or a handle (`fetch_module`).
    """
    if isinstance(source, str) and source.startswith((_TFHUB, *_KAGGLE)):
        return open_module(fetch_module(source))
    path = Path(source).expanduser()
    if path.is_file() and path.name.endswith(_ARCHIVES):
        return _unpack(path)
    if not (path / MODEL).is_file():
        older = " (a TF1 .pbtxt or an older text format is not read)" * (path / "saved_model.pbtxt").is_file()
        raise ValueError(
            f"A TF-Hub module is a folder with {MODEL} in it, a .tar.gz of one, or a handle such as "
            f"'https://tfhub.dev/google/nnlm-en-dim50/2'{older}. Received: {str(source)!r}"
        )
    return path


def _unpack(path: Path) -> Path:
    folder = own_folder()
    try:
        with tarfile.open(path) as archive:
            archive.extractall(folder, filter="data")  # nothing outside the folder, no devices, no links out of it
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(
            f"The archive must be a whole .tar.gz of a module ({error}). Received: {str(path)!r}"
        ) from error
    found = [folder, *(one for one in sorted(folder.iterdir()) if one.is_dir())]
    home = next((one for one in found if (one / MODEL).is_file()), None)
    if home is None:
        raise ValueError(f"The archive must hold {MODEL}, at its top or in a folder there. Received: {str(path)!r}")
    return home


def own_folder() -> Path:
    """A new folder that is there as long as this process: TensorFlow reads a module's vocabularies when it likes."""
    folder = Path(tempfile.mkdtemp(prefix="tfhub-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def fetch_module(handle: str) -> Path:
    """Download a module, or take it from the cache: a folder or an archive.

    `https://tfhub.dev/...` is fetched as the `.tar.gz` that this address gives for `?tf-hub-format=compressed`, into
    Keras' cache. `https://www.kaggle.com/models/...` and `kaggle://owner/model/framework/variation/version` need the
    package `kagglehub`, the extra `tfhub`.
    """
    if handle.startswith(_TFHUB):
        import keras

        name = quote(handle.removeprefix(_TFHUB).strip("/"), safe="") + ".tar.gz"
        try:
            return Path(keras.utils.get_file(name, f"{handle}?tf-hub-format=compressed", cache_subdir="tfhub_modules"))
        except Exception as error:  # no network, no such model: urllib has a class for each
            raise ValueError(
                f"The module could not be fetched ({error}). Without a network give its folder or .tar.gz. "
                f"Received: {handle!r}"
            ) from error
    try:
        kagglehub = importlib.import_module("kagglehub")
    except ImportError as error:
        raise ValueError(
            'Models of Kaggle are fetched by kagglehub: pip install "keras-transfer[tfhub]", or give the folder or the '
            f".tar.gz of the model. Received: {handle!r}"
        ) from error
    try:
        return Path(kagglehub.model_download(kaggle_handle(handle)))
    except Exception as error:
        raise ValueError(
            f"The module could not be fetched ({error}). Without a network give its folder or .tar.gz. Received: {handle!r}"
        ) from error


def kaggle_handle(handle: str) -> str:
    """What kagglehub calls a model of Kaggle.

    >>> kaggle_handle("https://www.kaggle.com/models/google/nnlm/frameworks/tensorFlow2/variations/en-dim50/versions/1")
    'google/nnlm/tensorFlow2/en-dim50/1'
    """
    bare = next(handle.removeprefix(prefix) for prefix in _KAGGLE if handle.startswith(prefix))
    parts = [one for one in bare.strip("/").split("/") if one not in ("frameworks", "variations", "versions")]
    if len(parts) not in (4, 5):
        raise ValueError(
            "A model of Kaggle is owner/model/framework/variation, and a version where it matters. "
            f"Received: {handle!r}"
        )
    return "/".join(parts)


def module_hash(folder: Path) -> str:
    """SHA-256 over the names and bytes of the module's files."""
    digest = hashlib.sha256()
    for name in _files(folder):
        with open(folder / name, "rb") as file:
            digest.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def remember(sha256: str, folder: Path) -> None:
    """From now on a module of that hash is found in `folder`, as long as this process runs."""
    _known.setdefault(sha256, folder)


def known_folder(sha256: str) -> Path | None:
    """Where this process has opened a module of that hash, if it lies there still."""
    folder = _known.get(sha256)
    return folder if folder is not None and (folder / MODEL).is_file() else None


def copy_module(folder: Path, target: Path) -> None:
    """Copy the files that are hashed, and no others."""
    for name in _files(folder):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, target / name)


def _files(folder: Path) -> list[str]:
    files = [one for one in folder.rglob("*") if one.is_file()]
    names = sorted(one.relative_to(folder).as_posix() for one in files)
    if any(one.is_symlink() for one in folder.rglob("*")):
        raise ValueError(f"A module's folder must hold files, no links. Received: {str(folder)!r}")
    return [name for name in names if not any(part.startswith(".") for part in name.split("/"))]
