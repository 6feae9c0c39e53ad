"""The tasks: what differs between a search on images and one on text, and nothing else."""

from autoshrink.tasks.base import Prepared, Task, TaskProblem
from autoshrink.tasks.image import ImageTask
from autoshrink.tasks.text import TextTask

__all__ = ["TASKS", "Prepared", "Task", "TaskProblem"]

TASKS: dict[str, Task] = {"image": ImageTask(), "text": TextTask()}
"""By the name in `SearchSettings.task`."""
