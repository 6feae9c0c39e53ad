"""The paper's tables, rebuilt as far as this machine, its data and a budget of time allow, beside what it printed.

found = reproduce(Asked("table4", budget=1800), "runs/table4")
print(found.markdown())
"""

from autoshrink.reproduce.conduct import Progress
from autoshrink.reproduce.rebuilding import NAMES, Asked, read, reproduce
from autoshrink.reproduce.report import Reproduction, picture
from autoshrink.reproduce.study import Outcome, Result, Study

__all__ = [
    "NAMES",
    "Asked",
    "Outcome",
    "Progress",
    "Reproduction",
    "Result",
    "Study",
    "picture",
    "read",
    "reproduce",
]
