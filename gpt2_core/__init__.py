"""The GPT-2 core: model, tokenizer, checkpoints, generation, scoring."""
