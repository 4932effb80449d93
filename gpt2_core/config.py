"""What distinguishes one GPT-2 from another: seven numbers, and where its weights are found.

Sources: Radford et al. 2019, Table 2 (layers, widths, the labels 117M ... 1542M); the released checkpoints (heads, true
parameter counts); the model repositories at huggingface.co/openai-community (revisions, file sizes).
No other file of this project writes a dimension.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch


@dataclass(frozen=True)
class GPT2Config:
    """The shape of a GPT-2. Field names are transformer-lens's, so that code written for that library reads them.

    `device` and `dtype` say where a model's weights live; they are filled in by `GPT2.cfg` and play no part in the shape.
    Raises ValueError for a shape that no GPT-2 can have.
    """

    n_layers: int
    n_heads: int
    d_model: int
    n_ctx: int = 1024
    d_vocab: int = 50257
    d_mlp: int = 0  # 0 means 4 * d_model, as in every released size
    eps: float = 1e-5
    tied: bool = True  # the output head is the token embedding
    model_name: str = "custom"
    device: str = "cpu"
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        if not self.d_mlp:
            object.__setattr__(self, "d_mlp", 4 * self.d_model)
        for name in ("n_layers", "n_heads", "d_model", "n_ctx", "d_vocab", "d_mlp"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"{name} must be a positive whole number, got {getattr(self, name)!r}.")
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model {self.d_model} must be a multiple of n_heads {self.n_heads}: heads share it equally.")

    @property
    def d_head(self) -> int:
        return self.d_model // self.n_heads

    @property
    def d_vocab_out(self) -> int:
        return self.d_vocab

    @property
    def n_key_value_heads(self) -> None:
        """None, transformer-lens's way to say that keys and values have as many heads as queries."""

    @property
    def attn_scale(self) -> float:
        return self.d_head**0.5

    @property
    def act_fn(self) -> Literal["gelu_new"]:
        return "gelu_new"

    @property
    def n_params(self) -> int:
        """Number of parameters, the tied output head counted once."""
        d, m = self.d_model, self.d_mlp
        block = 4 * d * d + 4 * d + 2 * d * m + d + m + 4 * d  # attention, MLP, two LayerNorms
        head = 0 if self.tied else self.d_vocab * d
        return (self.d_vocab + self.n_ctx) * d + self.n_layers * block + 2 * d + head

    @staticmethod
    def from_hf(config: Mapping[str, Any], model_name: str = "custom") -> "GPT2Config":
        """From the dict of a Hugging Face `config.json`.

        Raises ValueError, in one sentence, where the file describes something that this GPT-2 would compute differently.
        """
        if config.get("model_type", "gpt2") != "gpt2":
            raise ValueError(f"config.json says model_type {config['model_type']!r}; only 'gpt2' checkpoints can be loaded.")
        computed_otherwise = {
            "activation_function": ("gelu_new", ("gelu_new", "gelu_pytorch_tanh")),
            "scale_attn_weights": (True, (True,)),
            "scale_attn_by_inverse_layer_idx": (False, (False,)),
            "add_cross_attention": (False, (False,)),
        }
        for key, (default, allowed) in computed_otherwise.items():
            if config.get(key, default) not in allowed:
                raise ValueError(f"config.json sets {key} to {config[key]!r}, which GPT-2 does not use (expected {default!r}).")
        missing = [key for key in ("n_layer", "n_head", "n_embd") if key not in config]
        if missing:
            raise ValueError(f"config.json lacks {', '.join(missing)}; it does not describe a GPT-2.")
        return GPT2Config(
            n_layers=config["n_layer"],
            n_heads=config["n_head"],
            d_model=config["n_embd"],
            n_ctx=config.get("n_positions", config.get("n_ctx", 1024)),
            d_vocab=config.get("vocab_size", 50257),
            d_mlp=config.get("n_inner") or 0,
            eps=config.get("layer_norm_epsilon", 1e-5),
            tied=config.get("tie_word_embeddings", True),
            model_name=model_name,
        )

    def to_hf(self) -> dict[str, Any]:
        """The dict of a Hugging Face `config.json` for this shape."""
        return {
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            "vocab_size": self.d_vocab,
            "n_positions": self.n_ctx,
            "n_ctx": self.n_ctx,
            "n_embd": self.d_model,
            "n_layer": self.n_layers,
            "n_head": self.n_heads,
            "n_inner": None if self.d_mlp == 4 * self.d_model else self.d_mlp,
            "activation_function": "gelu_new",
            "layer_norm_epsilon": self.eps,
            "attn_pdrop": 0.0,
            "embd_pdrop": 0.0,
            "resid_pdrop": 0.0,
            "initializer_range": 0.02,
            "bos_token_id": self.d_vocab - 1,
            "eos_token_id": self.d_vocab - 1,
            "tie_word_embeddings": self.tied,
        }

    def shape(self) -> dict[str, Any]:
        """The fields that make two models interchangeable."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("model_name", "device", "dtype")}


@dataclass(frozen=True)
class Size:
    """One model of the registry: its label, its shape, and where its weights come from."""

    name: str
    label: str
    config: GPT2Config
    hub_id: str | None = None  # None: embedded in assets/models
    revision: str | None = None
    file_bytes: int | None = None  # of model.safetensors, where published
    sha256: str | None = None  # of model.safetensors, where known
    licence: str = "modified MIT (OpenAI)"

    @property
    def embedded(self) -> bool:
        return self.hub_id is None


def _released(name: str, label: str, n_layers: int, n_heads: int, d_model: int, **where: Any) -> Size:
    config = GPT2Config(n_layers=n_layers, n_heads=n_heads, d_model=d_model, model_name=name)
    return Size(name, label, config, hub_id=f"openai-community/{name}", **where)


def _embedded(name: str, n_layers: int, n_heads: int, d_model: int, sha256: str) -> Size:
    config = GPT2Config(n_layers=n_layers, n_heads=n_heads, d_model=d_model, n_ctx=512, model_name=name)
    return Size(name, f"{name} (embedded)", config, sha256=sha256, licence="MIT")


RELEASED = ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")

SIZES: dict[str, Size] = {
    size.name: size
    for size in (
        _embedded("glass-2m", 2, 2, 32, "56a9e80b6edf69b03c86334864e01fe83924494b138938e6cc5c06473f754520"),
        _embedded("glass-3m", 2, 2, 64, "57eb7579f7967d6557c4af7b8e36ec628bef5be402b3ce57b0ad9351de72b329"),
        _embedded("glass-7m", 4, 4, 128, "163098854d730c8f089d45c056e9afa6ce62ef3ac0835e4a6b8b87ca236ecd9f"),
        _released(
            "gpt2",
            "117M (124M)",
            12,
            12,
            768,
            revision="607a30d783dfa663caf39e06633721c8d4cfcd7e",
            file_bytes=548_105_171,
            sha256="248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707",
        ),
        _released(
            "gpt2-medium",
            "345M (355M)",
            24,
            16,
            1024,
            revision="6dcaa7a952f72f9298047fd5137cd6e4f05f41da",
            file_bytes=1_519_984_962,
        ),
        _released(
            "gpt2-large",
            "762M (774M)",
            36,
            20,
            1280,
            revision="32b71b12589c2f8d625668d2335a01cac3249519",
            file_bytes=3_247_159_078,
        ),
        _released(
            "gpt2-xl",
            "1542M (1558M)",
            48,
            25,
            1600,
            revision="15ea56dee5df4983c59b2538573817e1667135e2",
            file_bytes=6_431_829_964,
            sha256="0f8b28eb05a8075f48b61b6f35332978c74fc7763fa9fb4051a1c30511736a6a",
        ),
    )
}
DEFAULT_MODEL = "glass-7m"
