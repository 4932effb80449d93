"""The Playground's settings: how long a text gets and how its tokens are drawn. Each is in the address."""

import secrets

import gradio as gr

from app.page import Page
from app.service.writing import MAX_SAMPLES, MAX_TOKENS, Knobs
from app.setting import Setting
from app.text import Words

MAX_STOPS = 16
_D = Knobs()
TOKENS = Setting("playground.tokens", _D.max_new_tokens, low=1, high=MAX_TOKENS)
TEMPERATURE = Setting("playground.temperature", _D.temperature, low=0, high=2)
TOP_K = Setting("playground.top_k", _D.top_k, low=0, high=200)
TOP_P = Setting("playground.top_p", _D.top_p, low=0.05, high=1)
SAMPLES = Setting("playground.samples", _D.n, low=1, high=MAX_SAMPLES)
SEED = Setting("playground.seed", "")  # "": a new one each time
MIN_P = Setting("playground.min_p", _D.min_p, low=0, high=1)
PENALTY = Setting("playground.penalty", _D.repetition_penalty, low=1, high=2)
STOP = Setting("playground.stop_strings", "")


def build(page: Page) -> list:
    """The controls, in the order in which `read_knobs` takes their values."""

    def slider(setting: Setting, step: float) -> gr.Slider:
        return gr.Slider(setting.low, setting.high, setting.default, step=step, **_named(page, setting))

    with gr.Group(elem_id="gb_playground_settings"):
        knobs = {
            setting: slider(setting, step) for setting, step in ((TOKENS, 1), (TEMPERATURE, 0.05), (TOP_K, 1), (TOP_P, 0.05))
        }
    with gr.Accordion(page.label("playground.more"), open=False, elem_id="gb_playground_more"):
        knobs[SAMPLES] = slider(SAMPLES, 1)
        hint = page.label("playground.seed_hint")
        knobs[SEED] = gr.Textbox("", max_lines=1, placeholder=hint, **_named(page, SEED))  # gr.Number turns empty into 0
        knobs[MIN_P], knobs[PENALTY] = slider(MIN_P, 0.01), slider(PENALTY, 0.05)
        knobs[STOP] = gr.Textbox("", lines=2, max_lines=6, placeholder="\\n\\n", **_named(page, STOP))
    for setting, component in knobs.items():
        page.control(setting, component)
    return list(knobs.values())


def _named(page: Page, setting: Setting) -> dict:
    name, label = setting.name.removeprefix("playground."), page.label
    return {"label": label(f"playground.{name}"), "info": label(f"playground.{name}_info"), "elem_id": f"gb_playground_{name}"}


def read_knobs(t: Words, tokens, temperature, top_k, top_p, n, seed, min_p, penalty, stop) -> Knobs:
    """The settings as the controls give them. An empty seed is a new one each time. Raises ValueError for a value out of range."""
    seed = str(seed or "").strip()
    if seed and not (seed.isascii() and seed.isdigit() and len(seed) <= 18):
        raise ValueError(t("playground.bad_seed", came=seed[:20]))
    lines = tuple(dict.fromkeys(line.replace("\\n", "\n") for line in (stop or "").splitlines() if line))
    if len(lines) > MAX_STOPS:
        raise ValueError(t("playground.many_stops", came=len(lines), most=MAX_STOPS))
    return Knobs(
        max_new_tokens=int(tokens),
        temperature=float(temperature),
        top_k=int(top_k),
        top_p=float(top_p),
        min_p=float(min_p),
        repetition_penalty=float(penalty),
        seed=int(seed) if seed else secrets.randbelow(10**6),
        n=int(n),
        stop=lines,
    )
