"""The names that printed scripts and notebooks rely on, used as the documentation shows them."""

import interp
from gpt2_core import SIZES, generate, load
from interp import attribution, edits, heads, lens, metrics, patching
from interp.targets import logit


def test_the_documented_lines_run():
    model = load("glass-2m", device="cpu", dtype="float32")
    assert "glass-2m" in SIZES
    cfg = model.cfg
    plan = edits.Plan((edits.Edit.zero("z", layer=1, head=0),))
    run = interp.trace(model, "The old clock", plan=plan)
    assert len(run.tokens) == len(run.strings) == len(run.logits) and run.provenance.plan == plan.to_json()
    assert run.activations["blocks.0.attn.hook_pattern"] is run.activations["pattern", 0]

    clean_tokens, corrupted_tokens = (model.to_tokens(text) for text in ("The old clock", "The new clock"))
    for metric in (metrics.logit_diff(262, 257), lambda logits: logits[:, 262] - logits[:, 257]):
        result = patching.sweep(model, clean_tokens, corrupted_tokens, metric, component="resid_pre")
        assert result.values.shape == (cfg.n_layers, 4)
        result = patching.sweep(model, clean_tokens, corrupted_tokens, metric, component="z")
        assert result.values.shape == (cfg.n_layers, cfg.n_heads)
    scores = heads.scores(model, seed=0)
    for table in (scores.induction, scores.previous_token, scores.duplicate_token):
        assert table.shape == (cfg.n_layers, cfg.n_heads)
    assert lens.logit_lens(model, run).labels[0] == "embed"
    assert attribution.by_head(model, run, logit(model, 262)).heads.shape == (cfg.n_layers, cfg.n_heads)
    out = generate(model, "The old clock", max_new_tokens=3, temperature=0.0, seed=0)
    assert len(out.ids) == len(out.logprobs) == 3 and isinstance(out.text, str)
