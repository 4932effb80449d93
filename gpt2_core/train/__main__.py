"""`python -m gpt2_core.train prepare | run | plan`."""

import argparse
import sys
from importlib import import_module

COMMANDS = {
    "prepare": "make token shards from documents",
    "run": "train a model from a recipe; the same command goes on with a run that was stopped or killed",
    "plan": "what a recipe costs: tokens, steps, FLOPs, hours, memory",
}


def main(arguments: list[str] | None = None) -> int:
    """Only the module of the command at hand is imported: each needs libraries that the others do not."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="python -m gpt2_core.train", description="Train GPT-2 models from documents.")
    commands, module = parser.add_subparsers(dest="command", required=True), None
    for name, about in COMMANDS.items():
        command = commands.add_parser(name, help=about, description=about)
        if arguments[:1] == [name]:
            module = import_module(f"gpt2_core.train.{name}_cli")
            module.add_arguments(command)
    args = parser.parse_args(arguments)
    return module.main(args)


if __name__ == "__main__":
    sys.exit(main())
