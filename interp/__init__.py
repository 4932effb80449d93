"""What is inside a run of GPT-2, and what happens when it is changed.

from gpt2_core import load
from interp import trace
from interp.edits import Edit, Plan
run = trace(load("glass-7m"), "The old clock", Plan((Edit.zero("z", layer=2, head=1),)))

What every module here keeps to:
    model first, then what is read, then choices. `plan` is the edits in force, in every run that an analysis makes.
    text gets `<|endoftext|>` in front where `bos` says so, and so do the ids that `trace` is given. Functions that take clean,
    corrupted or several prompts take ids as they are; whether these begin with `<|endoftext|>` is then seen and not asked.
    `position` is an index into the tokens of the run, a leading `<|endoftext|>` counted; negative ones count from the end.
    results are frozen, say where they come from (`provenance`) and, where an identity must hold, by how much it was missed (`check`).
    what takes long is a generator of steps beside the function that gives all of it; stop asking and it stops.
    over the prompts of a set: `interp.over_set`.
"""

from interp.edits import Edit, Plan
from interp.run import Run, trace

__all__ = ["Edit", "Plan", "Run", "trace"]
