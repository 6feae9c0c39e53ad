"""The tasks: what differs between a search on images and one on text, and nothing else does.

`autoshrink.registry.TASKS` has them by name; each is one object (`Task`).
"""

from autoshrink.registry import TASKS
from autoshrink.tasks.base import Drawn, Option, Prepared, Task, task_of

__all__ = ["TASKS", "Drawn", "Option", "Prepared", "Task", "task_of"]
