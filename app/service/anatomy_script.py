"""What the anatomy's panels hand out: one position's way as a table, and scripts that compute it."""

import numpy as np

from app.evidence import Evidence
from app.service.anatomy import hook_name, way
from app.service.scripts import lens_script, script
from app.service.view import View


def way_evidence(view: View) -> Evidence:
    """The stream's norm and what each part adds, in the order of the data flow."""
    found = way(view)
    names = ["hook_embed", "hook_pos_embed"]
    for layer in range(view.config.n_layers):
        names += [hook_name(p, layer) for p in ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")]
    rows = [(name, float(np.linalg.norm(found.vectors[name]))) for name in names]
    body = f"""
for name in {names}:
    print(f"{{name:>28}} {{@CACHE@[name][@ROW@{view.position}].norm().item():12.5f}}")
"""
    return Evidence(
        "anatomy",
        ("point", "norm"),
        rows,
        script(view, "", body.replace("@CACHE@", "run.activations").replace("@ROW@", "")),
        lens_script(
            view, "", "_, cache = model.run_with_cache(tokens)" + body.replace("@CACHE@", "cache").replace("@ROW@", "0, ")
        ),
        {
            "position": view.position,
            "token": view.run.strings[view.position],
            "checks": [{"name": c.name, "residual": c.residual, "tolerance": c.tolerance} for c in found.checks],
            "provenance": view.run.provenance.to_dict(),
        },
    )
