"""What can be chosen when the program starts: flags, and environment variables of the same meaning."""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NoReturn

from gpt2_core.config import DEFAULT_MODEL

BAD_INPUT = 2  # the exit code


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message}; see {self.prog} --help.\n")


@dataclass(frozen=True)
class Settings:
    """How the page is served and what it may use. `memory_gb` bounds the weights kept in memory at once."""

    host: str = "127.0.0.1"
    port: int = 7860
    model: str = DEFAULT_MODEL
    device: str = "auto"
    dtype: str = "float32"
    memory_gb: float = 8.0
    threads: int = 0
    downloads: bool = True
    share: bool = False
    sae: str = ""


_HELP = {
    "host": "address to serve on; 0.0.0.0 lets other machines in",
    "port": "port to serve on",
    "model": "model to open with: glass-7m, gpt2, gpt2-medium, gpt2-large, gpt2-xl, or a folder with a checkpoint",
    "device": "auto, cpu, cuda, cuda:1 or mps",
    "dtype": "float32, bfloat16 or float16",
    "memory_gb": "weights kept in memory at once, in GB; least recently used models leave first, and larger ones are refused, except the one to open with",
    "threads": "CPU threads for PyTorch; 0 chooses",
    "downloads": "whether visitors may download released GPT-2 weights with a button",
    "sae": "folder with sparse autoencoders of the SAELens layout (cfg.json, sae_weights.safetensors), for the Neurons tab; empty is saes/ beside app.py",
    "share": "also open a public address through Gradio's servers (leaves this machine)",
}


def variable(name: str) -> str:
    """The environment variable of a setting: GLASSBOX_PORT for `port`."""
    return f"GLASSBOX_{name.upper()}"


def read_settings(arguments: Sequence[str], environment: Mapping[str, str] = os.environ, prog: str = "app.py") -> Settings:
    """Settings from flags, else from the environment, else the defaults. Exits with a sentence on a value that cannot be."""
    defaults = {f.name: f.default for f in fields(Settings)}
    parser = Parser(
        prog=prog,
        description="GPT-2 Glassbox: type a prompt into GPT-2 and see, and change, everything that happens inside.",
        epilog="Each flag has an environment variable, GLASSBOX_HOST for --host and so on; a flag wins over its variable.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    for name, default in defaults.items():
        kind = _switch if isinstance(default, bool) else type(default)
        if variable(name) in environment:
            default = _from_variable(parser, name, kind, environment[variable(name)])
        options: dict[str, Any] = (
            {"nargs": "?", "const": True, "metavar": "yes|no"} if kind is _switch else {"metavar": name.upper()}
        )
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, help=_HELP[name], **options)
    settings = Settings(**vars(parser.parse_args(arguments)))
    if not settings.host:
        parser.error("--host must not be empty; 127.0.0.1 is this machine, 0.0.0.0 lets others in")
    if not 0 <= settings.port <= 65535:
        parser.error(f"--port must lie in 0..65535, got {settings.port}")
    if not 0 < settings.memory_gb < 1e6:
        parser.error(f"--memory-gb must be more than 0 and less than a million, got {settings.memory_gb}")
    if settings.threads < 0:
        parser.error(f"--threads must be 0 (choose) or more, got {settings.threads}")
    return settings


def _from_variable(parser: Parser, name: str, kind: Any, text: str) -> Any:
    try:
        return kind(text)
    except (ValueError, argparse.ArgumentTypeError):
        wanted = {int: "a whole number", float: "a number"}.get(kind, "yes or no")
        parser.error(f"{variable(name)}={text!r}: expected {wanted}")


def _switch(text: str) -> bool:
    words = {"yes": True, "true": True, "1": True, "on": True, "no": False, "false": False, "0": False, "off": False}
    if str(text).lower() not in words:
        raise argparse.ArgumentTypeError(f"expected yes or no, got {text!r}")
    return words[str(text).lower()]
