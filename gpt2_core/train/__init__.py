"""Pre-training: documents to shards (`prepare`), shards to a GPT-2 (`run`). `python -m gpt2_core.train --help`."""
