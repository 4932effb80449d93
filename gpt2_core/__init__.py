"""The GPT-2 core: model, tokenizer, checkpoints, generation, scoring."""

__version__ = "0.1.0"
