"""Folders of the SAELens layout, old and new, with random weights of 50 features, for tests."""

import json

import torch
from safetensors.torch import save_file

OLD = {"architecture": "standard", "d_in": 32, "d_sae": 50, "hook_name": "blocks.1.hook_resid_pre", "hook_layer": 1}
OLD |= {"model_name": "tiny", "activation_fn_str": "relu", "normalize_activations": "none", "apply_b_dec_to_input": True}
OLD |= {"hook_head_index": None, "finetuning_scaling_factor": False, "dtype": "torch.float32", "prepend_bos": True}
NEW = {"architecture": "standard", "d_in": 32, "d_sae": 50, "apply_b_dec_to_input": False, "normalize_activations": "none"}
NEW |= {"reshape_activations": "hook_z", "metadata": {"hook_name": "blocks.0.attn.hook_z", "hook_head_index": None}}


def folder(path, cfg, d_in=32, **more):
    random = torch.Generator().manual_seed(1)
    shapes = {"W_enc": (d_in, 50), "b_enc": (50,), "W_dec": (50, d_in), "b_dec": (d_in,)}
    tensors = {name: 0.3 * torch.randn(shape, generator=random) for name, shape in shapes.items()} | more
    path.mkdir(exist_ok=True)
    (path / "cfg.json").write_text(json.dumps(cfg), encoding="utf-8")
    save_file(tensors, path / "sae_weights.safetensors")
    return tensors
