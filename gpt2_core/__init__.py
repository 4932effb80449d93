"""The GPT-2 core: model, tokenizer, checkpoints, generation, scoring.

from gpt2_core import load, generate
model = load("glass-7m")
print(generate(model, "Once upon a time").text)
"""

__version__ = "0.1.0"

from gpt2_core.cache import KVCache
from gpt2_core.checkpoints import load
from gpt2_core.config import SIZES, GPT2Config
from gpt2_core.generate import generate, stream
from gpt2_core.model import GPT2
from gpt2_core.tokenizer import Tokenizer

__all__ = ["SIZES", "GPT2", "GPT2Config", "KVCache", "Tokenizer", "generate", "load", "stream"]
