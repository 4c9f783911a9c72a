"""The version: a literal, since to ask for the installed package's own takes a tenth of the import."""

__version__ = "0.1.0.dev0"
