"""What is inside a run of GPT-2, and what happens when it is changed.

from gpt2_core import load
from interp import trace
from interp.edits import Edit, Plan
run = trace(load("glass-7m"), "The old clock", Plan((Edit.zero("z", layer=2, head=1),)))
"""

from interp.edits import Edit, Plan
from interp.run import Run, trace

__all__ = ["Edit", "Plan", "Run", "trace"]
