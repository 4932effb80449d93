"""What the lens tab's panels hand out: tables, and the scripts that print them."""

import numpy as np

from app.evidence import Evidence
from app.service.lens import final_prediction, table, track
from app.service.scripts import lens_script, script
from app.service.view import View
from interp.lens import lens_names

_IMPORTS = {
    "logit": "",
    "frozen": "",
    "tuned": "from gpt2_core.checkpoints import locate\nfrom interp import tuned_lens",
}
_READING = {
    "logit": "",
    "frozen": ', layer_norm="frozen"',
    "tuned": ", translate=tuned_lens.load(locate({model!r}).folder, model)",
}


def _reading(view: View, kind: str) -> tuple[str, str]:
    """The imports and the keywords of a kind of lens."""
    return _IMPORTS[kind], _READING[kind].format(model=view.state.model)


def _facts(view: View, kind: str, **more) -> dict:
    return {"lens": kind, **more, "provenance": view.run.provenance.to_dict()}


def track_evidence(view: View, target: int, mid: bool, kind: str = "logit") -> Evidence:
    """The followed token's numbers, layer by layer, and the scripts that compute them."""
    found, names = track(view, view.run, target, mid, kind), lens_names(view.config.n_layers, mid)
    token = view.model.tokenizer.strings([target])[0]
    imports, reading = _reading(view, kind)
    code = f"""
lens = logit_lens(model, run, target={target}, mid={mid}{reading})  # {token!r}
rows = zip(lens.labels, lens.target_probability[:, {view.position}].tolist(), lens.target_rank[:, {view.position}].tolist())
for label, probability, rank in rows:
    print(f"{{label:>12}} {{probability:9.4%}} rank {{rank + 1}}")
"""
    lens_code = f"""
_, cache = model.run_with_cache(tokens)
names = {names}
for name in names:
    logits = model.unembed(model.ln_final(cache[name]))[0, {view.position}]
    rank = int((logits > logits[{target}]).sum()) + 1
    print(f"{{name:>28}} {{logits.softmax(-1)[{target}].item():9.4%}} rank {{rank}}")  # of {token!r}
"""
    return Evidence(
        "lens-token",
        ("read_at", "probability", "rank"),
        list(zip(names, found.p, found.rank)),
        script(view, f"from interp.lens import logit_lens\n{imports}", code),
        lens_script(view, "", lens_code) if kind == "logit" else "",
        _facts(view, kind, token=token, id=target, position=view.position),
    )


def table_evidence(view: View, target: int | None, mid: bool, kind: str = "logit") -> Evidence:
    """The table's cells, and the scripts that print them."""
    found, names, strings = table(view, view.run, mid, target, kind), lens_names(view.config.n_layers, mid), view.run.strings
    top = [view.model.tokenizer.strings(row) for row in found.top_ids[..., 0].tolist()]
    rows = [
        (names[r], pos, strings[pos], top[r][pos], found.top_p[r, pos, 0], found.entropy[r, pos], found.target_p[r, pos],
         found.target_rank[r, pos] + 1)
        for r, pos in np.ndindex(found.entropy.shape)
    ]  # fmt: skip
    imports, reading = _reading(view, kind)
    code = f"""
lens = logit_lens(model, run, k=1, target={target}, mid={mid}{reading})
for row, label in enumerate(lens.labels):
    for position in range(len(run)):
        p, entropy = lens.top_probabilities[row, position, 0].item(), lens.entropy[row, position].item()
        top = model.tokenizer.strings(lens.top_ids[row, position].tolist())[0]
        target_p, rank = lens.target_probability[row, position].item(), lens.target_rank[row, position].item() + 1
        print(f"{{label}} {{position}} {{p:.6f}} {{entropy:.5f}} {{target_p:.6f}} rank {{rank}} {{top!r}}")
"""
    lens_code = f"""
_, cache = model.run_with_cache(tokens)
for name in {names}:
    p = model.unembed(model.ln_final(cache[name]))[0].softmax(-1)
    for position, row in enumerate(p):
        entropy = torch.special.entr(row).sum().item() / 0.6931471805599453
        print(f"{{name}} {{position}} {{row.max().item():.6f}} {{entropy:.5f}} {{row.argmax().item()}}")
"""
    return Evidence(
        "logit-lens" if kind != "tuned" else "tuned-lens",
        ("read_at", "position", "token", "likeliest", "probability", "entropy_bits", "target_probability", "target_rank"),
        rows,
        script(view, f"from interp.lens import logit_lens\n{imports}", code),
        lens_script(view, "", lens_code) if kind == "logit" else "",
        _facts(view, kind, target=target, check=found.check.residual),
    )


def statistics_evidence(view: View, mid: bool, kind: str) -> Evidence:
    """Entropy, way to the end and rank at the selected position, and their means over the prompt."""
    found, names, at = table(view, view.run, mid, None, kind), lens_names(view.config.n_layers, mid), view.position
    bits, kl, rank = found.entropy, found.kl, found.target_rank + 1
    rows = [
        (name, bits[r, at], kl[r, at], rank[r, at], bits[r].mean(), kl[r].mean(), np.median(rank[r]))
        for r, name in enumerate(names)
    ]
    imports, reading = _reading(view, kind)
    code = f"""
found = trajectory(model, run, mid={mid}{reading})
for row, label in enumerate(found.labels):
    entropy, kl, rank = (table[row, {at}].item() for table in (found.entropy, found.kl_to_final, found.final_rank))
    print(f"{{label}} {{entropy:.5f}} {{kl:.5f}} {{rank + 1:.1f}} {{found.entropy[row].mean().item():.5f}} {{found.kl_to_final[row].mean().item():.5f}}", end=" ")
    print(f"{{found.final_rank[row].float().quantile(0.5).item() + 1:.1f}}")
"""
    lens_code = f"""
_, cache = model.run_with_cache(tokens)
final = model(tokens)[0].log_softmax(-1)
best = final.argmax(-1, keepdim=True)
for name in {names}:
    row = model.unembed(model.ln_final(cache[name]))[0].log_softmax(-1)
    entropy = torch.special.entr(row.exp()).sum(-1) / 0.6931471805599453
    kl = (final.exp() * (final - row)).sum(-1) / 0.6931471805599453
    rank = (row > row.gather(-1, best)).sum(-1) + 1
    print(f"{{name}} {{entropy[{at}].item():.5f}} {{kl[{at}].item():.5f}} {{rank[{at}].item():.1f}} {{entropy.mean().item():.5f}} {{kl.mean().item():.5f}}", end=" ")
    print(f"{{rank.float().quantile(0.5).item():.1f}}")
"""
    return Evidence(
        "lens-trajectory",
        ("read_at", "entropy_bits", "kl_to_final_bits", "rank", "mean_entropy_bits", "mean_kl_bits", "median_rank"),
        rows,
        script(view, f"from interp.trajectory import trajectory\n{imports}", code),
        lens_script(view, "", lens_code) if kind == "logit" else "",
        _facts(view, kind, position=at, predicted=final_prediction(view), check=found.check.residual),
    )
