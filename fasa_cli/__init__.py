"""fasa: show which pixels of a photograph were manipulated."""

__version__ = "0.1.0"
