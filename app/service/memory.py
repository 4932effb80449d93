"""Running out of memory, said in a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

ON_THE_CPU = "DefaultCPUAllocator"  # torch's own words for it: on the CPU it raises a plain RuntimeError


@contextmanager
def enough_memory(name: str) -> Iterator[None]:
    """Turns running out of memory inside, on the CPU or a GPU, into a ValueError that says so. name: of the model that was run."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if isinstance(error, RuntimeError) and not _out_of_memory(error):
            raise
        raise ValueError(f"There is not enough memory for {name} here; choose a smaller model or a shorter text.") from error


def _out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or ON_THE_CPU in str(error)
