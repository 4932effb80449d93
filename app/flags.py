"""The flags of the command line and what they mean: `python -m app --help` is written here."""

import argparse
from collections.abc import Callable, Mapping

from app.service.analyses import MAX_K
from app.service.texts import MAX_NEW_TOKENS, MAX_SAMPLES
from app.settings import Parser
from gpt2_core.config import DEFAULT_MODEL, RELEASED
from interp.literature import BY_ID

PROGRAM = "python -m app"

DESCRIPTION = """\
GPT-2 Glassbox in a terminal: GPT-2 continues a text, says how probable a text is, and shows what happens inside.
Nothing is downloaded except by `models --download`."""

EXAMPLES = f"""\
examples:
  {PROGRAM} generate "The old man" --max-new-tokens 60 --temperature 0.7
  {PROGRAM} score --file story.txt
  {PROGRAM} lens "When the old clock struck twelve, the old" --position -1
  {PROGRAM} attention "When the old clock struck twelve" --layer 2 --head 1
  {PROGRAM} generate "The old man" --plan '[{{"op":"zero","component":"z","layer":2,"head":1}}]'
  echo -n "The old man" | {PROGRAM} score - --json
"""

Command = Callable[[argparse.Namespace], int]


def parser(commands: Mapping[str, Command]) -> argparse.ArgumentParser:
    """The parser of the whole command line; `commands` are the functions that run each command."""
    raw = argparse.RawDescriptionHelpFormatter
    top = Parser(prog=PROGRAM, description=DESCRIPTION, epilog=EXAMPLES, formatter_class=raw)
    sub = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, help: str, more: str = "") -> argparse.ArgumentParser:
        new = sub.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}. {more}".strip())
        new.set_defaults(run=commands[name])
        return new

    _generate(command("generate", "continue a prompt, printing the text as it comes"))
    _score(command("score", "how probable a text is, token by token, and its perplexity"))
    _attention(
        command(
            "attention",
            "how much each token looks at each earlier one",
            "Without --layer, the mean weight that each head puts on the first token, on the one before, and on itself.",
        )
    )
    _lens(
        command(
            "lens",
            "the logit lens: what each layer would predict if it were the last",
            "Without --position, the likeliest token per layer at as many of the last positions as the terminal is wide.",
        )
    )
    _heads(
        command(
            "heads",
            "what each head does on random tokens that are repeated",
            "Previous-token, duplicate-token and induction scores: the mean attention to the place that the role is about.",
        )
    )
    _literature(
        command(
            "literature",
            "what papers and notebooks measured in GPT-2 small, measured again",
            "Expected, measured and tolerance, check by check, the quick ones first; exit code 1 if one is not met. "
            "On other models than gpt2 the same analyses run without an expectation.",
        )
    )
    _models(command("models", "the models that can be used, and downloading one"))
    sub.add_parser("serve", help="open the page in a browser (flags as of app.py; see `serve --help`)", add_help=False)
    return top


def _common(parser: argparse.ArgumentParser, prompt: bool = True) -> None:
    if prompt:
        parser.add_argument("prompt", nargs="?", help="the text; - reads standard input, every character of it")
        parser.add_argument("--file", metavar="PATH", help="read the text from a file (UTF-8)")
        parser.add_argument(
            "--no-bos", dest="bos", action="store_false", help="do not put <|endoftext|> in front (it marks a document's start)"
        )
    known = ", ".join((DEFAULT_MODEL, *RELEASED))
    parser.add_argument("--model", default=DEFAULT_MODEL, help=f"{known}, or a checkpoint's folder (default: %(default)s)")
    parser.add_argument("--plan", default="", metavar="JSON", help="edits to the model, as JSON: see the examples of --help")
    _machine(parser)


def _machine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps (default: %(default)s)")
    parser.add_argument("--dtype", default="float32", help="float32, bfloat16 or float16 (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print everything as one line of JSON")


def _generate(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    flag = parser.add_argument
    flag("--max-new-tokens", type=int, default=40, metavar="N", help=f"1 to {MAX_NEW_TOKENS} (default: %(default)s)")
    flag("--temperature", type=float, default=0.8, metavar="T", help="0 takes the likeliest token (default: %(default)s)")
    flag("--top-k", type=int, default=40, metavar="K", help="only the K likeliest tokens (default: %(default)s; 0: all)")
    flag("--top-p", type=float, metavar="P", help="only the smallest set of tokens whose probability reaches P")
    flag("--min-p", type=float, metavar="P", help="only tokens at least P times as probable as the likeliest")
    flag("--repetition-penalty", type=float, default=1.0, metavar="X", help="above 1 makes tokens already there less likely")
    flag("--seed", type=int, default=0, help="the same seed gives the same text (default: %(default)s)")
    flag("--n", type=int, default=1, help=f"how many continuations, 1 to {MAX_SAMPLES}; several are printed at the end")
    flag("--stop", action="append", default=[], metavar="TEXT", help="end before this text; may be given several times")
    flag("--echo", action="store_true", help="print the prompt in front of the text")


def _score(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    parser.add_argument(
        "--stride", type=int, metavar="N", help="tokens between the windows that read a long text (default: half a context)"
    )
    parser.add_argument("--summary", action="store_true", help="only the perplexities; allows texts of any book's length")


def _attention(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    parser.add_argument("--layer", type=int, help="show the patterns of this layer, counted from 0")
    parser.add_argument("--head", type=int, help="only this head of the layer, counted from 0")


def _lens(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    parser.add_argument("--k", type=int, default=5, help=f"tokens per place, 1 to {MAX_K} (default: %(default)s)")
    parser.add_argument("--position", type=int, metavar="N", help="show this position in full; -1 is the last")
    parser.add_argument("--target", metavar="TOKEN", help='a token to track through the layers, as " Paris" (in --json)')
    parser.add_argument("--mid", action="store_true", help="rows after each layer's attention too")


def _heads(parser: argparse.ArgumentParser) -> None:
    _common(parser, prompt=False)
    parser.add_argument("--seed", type=int, default=0, help="of the random tokens (default: %(default)s)")
    parser.add_argument("--length", type=int, default=50, help="tokens per copy, 2 to 128 (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=4, help="sequences, 1 to 8 (default: %(default)s)")


def _literature(parser: argparse.ArgumentParser) -> None:
    known = ", ".join((DEFAULT_MODEL, *RELEASED))
    parser.add_argument("--model", default=DEFAULT_MODEL, help=f"{known}, or a checkpoint's folder (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="IDS", help=f"some of them, with commas between: {', '.join(BY_ID)}")
    _machine(parser)


def _models(parser: argparse.ArgumentParser) -> None:
    _machine(parser)
    parser.add_argument("--download", metavar="NAME", help="fetch this model, after showing its size and licence")
    parser.add_argument("--yes", action="store_true", help="do not ask before a download")
