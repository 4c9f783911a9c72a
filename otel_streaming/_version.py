"""The version, read from the installed package."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("otel-streaming")
except PackageNotFoundError:  # run from a copied folder, as injection images do
    __version__ = "0"
