"""The named endpoints of the page: every analysis for other programs, under "Use via API" and for `gradio_client`.

    from gradio_client import Client
    Client("http://127.0.0.1:7860").predict(prompt="The old clock", api_name="/next_tokens")

Arguments, answers and bounds are those of `app.service.analyses`; whatever cannot be done comes back as one sentence.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

import gradio as gr

from app.service import analyses
from app.service.memory import enough_memory
from app.service.texts import MAX_READ
from app.store import ModelStore
from app.zero_gpu import on_gpu

AT_ONCE = 2  # analyses that run at the same time, all endpoints together


def add_endpoints(store: ModelStore) -> None:
    """Adds /generate, /score, /next_tokens, /attention, /lens, /heads and /models to the `gr.Blocks` being built.

    To be called before other events are added: Gradio gives a name to the first function that has it, private ones included.
    """
    for function in (*_of_texts(store), *_of_insides(store)):
        gr.api(
            on_gpu(_one_sentence(function)),
            api_name=function.__name__,
            api_description=inspect.getdoc(function),  # Gradio by itself leaves the arguments out
            concurrency_id="analyses",
            concurrency_limit=AT_ONCE,
        )


def _one_sentence(function: Callable) -> Callable:
    """The function, whose ValueErrors reach the caller as they are, and a lack of memory as one of them."""

    parameters = list(inspect.signature(function).parameters)

    @wraps(function)
    def endpoint(*arguments: Any) -> dict:
        try:
            with enough_memory(str(dict(zip(parameters, arguments)).get("model", "this"))):
                return function(*arguments)
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return endpoint


def _of_texts(store: ModelStore) -> list[Callable]:
    usual = store.settings.model

    def generate(
        prompt: str,
        model: str = usual,
        max_new_tokens: int = 40,
        temperature: float = 0.8,
        top_k: int | None = 40,
        top_p: float | None = None,
        min_p: float | None = None,
        repetition_penalty: float = 1.0,
        seed: int = 0,
        n: int = 1,
        stop: list[str] | None = None,
        plan: str = "",
        bos: bool = True,
    ) -> dict:
        """Continue a prompt. The text is made by a language model; label it so when you pass it on.

        Args:
            prompt: The text to continue.
            model: A name from /models that is on this machine.
            max_new_tokens: 1 to 1000.
            temperature: 0 takes the likeliest token each time, 1 samples from the model as it is.
            top_k: Only the k likeliest tokens may come; null for all.
            top_p: Only the smallest set of tokens whose probability reaches p; null for all.
            min_p: Only tokens at least min_p times as probable as the likeliest; null for all.
            repetition_penalty: Above 1 makes tokens that are already there less likely.
            seed: The same seed gives the same text.
            n: How many continuations, 1 to 8.
            stop: Texts before which a continuation ends.
            plan: Edits to the model while it writes, as the JSON that the page's address carries; empty for none.
            bos: Put <|endoftext|> in front of the prompt.
        """
        return analyses.generate(
            store, model, prompt, plan=plan, bos=bos, max_new_tokens=max_new_tokens, temperature=temperature, top_k=top_k,
            top_p=top_p, min_p=min_p, repetition_penalty=repetition_penalty, seed=seed, n=n, stop=stop,
        )  # fmt: skip

    def score(
        prompt: str, model: str = usual, stride: int | None = None, tokens: bool = True, plan: str = "", bos: bool = True
    ) -> dict:
        """How probable a text is to the model, token by token, and its perplexity per token, word, byte and character.

        Args:
            prompt: The text.
            model: A name from /models that is on this machine.
            stride: Tokens between the windows in which a text longer than the context is read; null for half a context.
                All windows together may have 500,000 tokens.
            tokens: Whether to list every token.
            plan: Edits to the model, as JSON; empty for none.
            bos: Put <|endoftext|> in front, so that the first token has a probability too.
        """
        return analyses.score(store, model, prompt, plan=plan, bos=bos, stride=stride, tokens=tokens, most_read=MAX_READ)

    def next_tokens(prompt: str, model: str = usual, k: int = 20, position: int = -1, plan: str = "", bos: bool = True) -> dict:
        """What the model expects after a position of the prompt: the likeliest tokens with probabilities and logits.

        Args:
            prompt: The text.
            model: A name from /models that is on this machine.
            k: How many tokens, 1 to 100.
            position: A token's position, <|endoftext|> counted; -1 is the last.
            plan: Edits to the model, as JSON; empty for none.
            bos: Put <|endoftext|> in front of the prompt.
        """
        return analyses.next_tokens(store, model, prompt, plan=plan, bos=bos, k=k, position=position)

    return [generate, score, next_tokens]


def _of_insides(store: ModelStore) -> list[Callable]:
    usual = store.settings.model

    def attention(
        prompt: str,
        model: str = usual,
        layer: int | None = None,
        head: int | None = None,
        plan: str = "",
        bos: bool = True,
    ) -> dict:
        """How much each token looks at each earlier one: a summary of every head, or the patterns of a layer or of a head.

        Args:
            prompt: The text.
            model: A name from /models that is on this machine.
            layer: The patterns of this layer, from 0; null for a summary of every head of the model.
            head: Of this head of the layer only.
            plan: Edits to the model, as JSON; empty for none.
            bos: Put <|endoftext|> in front of the prompt.
        """
        return analyses.attention(store, model, prompt, plan=plan, bos=bos, layer=layer, head=head)

    def lens(
        prompt: str,
        model: str = usual,
        k: int = 5,
        target: str | None = None,
        mid: bool = False,
        plan: str = "",
        bos: bool = True,
    ) -> dict:
        """The logit lens: what the model would predict at each position if it stopped after each layer.

        Args:
            prompt: The text.
            model: A name from /models that is on this machine.
            k: How many tokens per cell, 1 to 100.
            target: A single token to track through the layers; null tracks the final prediction at each position.
            mid: Rows after each layer's attention too.
            plan: Edits to the model, as JSON; empty for none.
            bos: Put <|endoftext|> in front of the prompt.
        """
        return analyses.lens(store, model, prompt, plan=plan, bos=bos, k=k, target=target, mid=mid)

    def heads(model: str = usual, seed: int = 0, length: int = 50, batch: int = 4, plan: str = "") -> dict:
        """What each head does on repeated random tokens: previous-token, duplicate-token and induction scores.

        Args:
            model: A name from /models that is on this machine.
            seed: Of the random tokens.
            length: Tokens per copy, 2 to 128.
            batch: Sequences, 1 to 8.
            plan: Edits to the model, as JSON; empty for none.
        """
        return analyses.heads(store, model, plan=plan, seed=seed, length=length, batch=batch)

    def models() -> dict:
        """Every model on offer: its shape, its size, and whether it is embedded, on this machine, or to be downloaded."""
        return analyses.models(store)

    return [attention, lens, heads, models]
