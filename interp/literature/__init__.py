"""What the literature measured in GPT-2 small, measured again: expected, measured, tolerance, check by check.

    from gpt2_core import load
    from interp import literature
    for outcome in literature.run(load("gpt2"), only=["ioi_eight", "dla_heads"]):
        print(outcome.check.title, outcome.status)

The numbers are outputs stored in TransformerLens' demo notebooks (v1.14.0, MIT), which hold whole tables to five digits, and
figures of papers, which were taken over data sets of their own and are compared loosely. The files: `check` (what a check
is), `prompts`, `reference` (the stored tables), then the checks themselves in `predictions`, `attributions`, `heads`,
`patches`, `ablations`, `sentences`, `circuit`, `vocabulary`, `extra_large` (of GPT-2 XL), and `runs`, which runs them.

Left out is what needs a data set: losses on OpenWebText, and the zero-shot tables of the GPT-2 paper, whose measures are
`gpt2_core.tasks`.
"""

from interp.literature.check import Bound, Check, Comparison, Measured, Miss, compare
from interp.literature.runs import BY_ID, CHECKS, STATUSES, Outcome, chosen, is_released, run, run_one, seconds

__all__ = [
    "BY_ID",
    "CHECKS",
    "STATUSES",
    "Bound",
    "Check",
    "Comparison",
    "Measured",
    "Miss",
    "Outcome",
    "chosen",
    "compare",
    "is_released",
    "run",
    "run_one",
    "seconds",
]
