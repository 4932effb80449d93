"""Libraries that only training needs: imported when they are used, and named in one sentence where they are missing."""

from importlib import import_module
from types import ModuleType


class Missing(ValueError):
    """A library is not installed; no fault of the data."""


def needed(module: str, purpose: str) -> ModuleType:
    """The module; Missing says what it is for and how to get it where it is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise Missing(
            f"{purpose} needs {module.partition('.')[0]}: pip install -r requirements-train.txt ({error})."
        ) from error
