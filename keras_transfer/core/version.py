"""The version of this package, read where pip wrote it down."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("keras-transfer")
except PackageNotFoundError:  # a checkout on the path that was never installed
    __version__ = "0+unknown"
