"""What the zero-shot tab hands out: the prompt as it was put together, the answers that are there, and a script."""

from collections.abc import Mapping

from app.evidence import Evidence
from app.service.scripts import script
from app.service.view import View
from app.service.zero_shot import Comparison, assemble, kept, task_runs
from app.service.zero_shot_choice import chosen
from gpt2_core.tasks import Task


def evidence(view: View) -> Evidence:
    """Every answer or candidate that was computed for what is chosen; the script asks the page's model again.

    Raises ValueError, in a sentence, for values that the task cannot use.
    """
    asked, rows = chosen(view), []
    task, values = asked.task, asked.values
    for run in task_runs(view, asked.models):
        outcome = kept(view, run, task, values)
        for way in outcome.ways if isinstance(outcome, Comparison) else ():
            rows += [(run.model, len(run.plan), way.scoring, c.name, c.logprob, c.share) for c in way.candidates]
        if outcome is not None and not isinstance(outcome, Comparison):
            rows.append((run.model, len(run.plan), "", outcome.answer, None, None))
    prompt = assemble(view.model, view.state.bos, task, values).prompt
    facts = {"task": task.name, "values": dict(values), "prompt": prompt, "source": task.source}
    columns = ("model", "edits", "scoring", "answer", "logprob_nats", "share")
    code = _choices(view, task, values) if task.decoding is None else _writing(view, task, prompt)
    return Evidence(f"zero-shot-{task.name.replace('_', '-')}", columns, rows, code, "", facts)


def _writing(view: View, task: Task, prompt: str) -> str:
    how = task.decoding
    body = f"""
task, hook = TASKS[{task.name!r}], compile_plan(model, plan, bos={view.state.bos})
out = generate(
    model, {prompt!r}, max_new_tokens={how.max_new_tokens}, temperature={how.temperature}, top_k={how.top_k},
    stop={how.stop!r}, bos={view.state.bos}, hook=hook,
)
print(task.postprocess(out.text))
"""
    imports = "from gpt2_core import generate\nfrom gpt2_core.tasks import TASKS\nfrom interp.intervene import compile_plan"
    return script(view, imports, body, run=False)


def _choices(view: View, task: Task, values: Mapping[str, str]) -> str:
    body = f"""
choices = TASKS[{task.name!r}].choices({dict(values)!r})
fitted = fit_choices(choices, model.tokenizer, model.cfg.n_ctx, {view.state.bos})
found = score_choices(model, fitted.choices, {view.state.bos}, hook=compile_plan(model, plan, bos={view.state.bos}))
for score, share in zip(found.scores, found.shares):
    print(f"{{sum(score.token_logprobs):.5f}} nats {{share:.4f}} {{score.choice.name}}")
"""
    imports = (
        "from gpt2_core.tasks import TASKS, fit_choices\nfrom gpt2_core.tasks.choosing import score_choices\n"
        "from interp.intervene import compile_plan"
    )
    return script(view, imports, body, run=False)
