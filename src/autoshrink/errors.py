"""Every error that autoshrink raises on purpose.

A message is one or two lines: the offending value, where it stands, and the way out. The command line prints it
without a traceback and exits with status 2; anything that is not an `AutoshrinkError` is a bug and keeps its
traceback.
"""


class AutoshrinkError(Exception):
    """Root of all errors raised on purpose."""


class InputError(AutoshrinkError):
    """A value that a person gave cannot be used: a setting, a cell, an architecture file, a path."""


class DataError(InputError):
    """A data set cannot be used: missing, empty, corrupt beyond the stated share, or changed since the run began."""


class MissingDataError(DataError):
    """Nothing is where the data were said to be."""


class RunError(AutoshrinkError):
    """A run folder cannot be used: missing, locked by another process, full, read-only, or from another version."""


class SearchError(AutoshrinkError):
    """A search ended without a single usable evaluation."""
