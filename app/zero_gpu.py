"""Hugging Face's ZeroGPU lends a GPU for the duration of a call to a decorated function; elsewhere the decorator does nothing."""

from collections.abc import Callable

try:
    import spaces
except ImportError:  # not on Spaces
    spaces = None


def on_gpu(function: Callable) -> Callable:
    """The function, run on a borrowed GPU where this is a ZeroGPU Space."""
    return function if spaces is None else spaces.GPU(function)
