"""The prompt shaded by a neuron's or a feature's activation."""

from app.components.token_strip import Legend, StripToken, token_strip_value
from app.service.view import View
from app.text import Words


def shaded(view: View, t: Words, values: list[float], label: str, unit: str) -> dict:
    """The prompt, each token shaded by a number; what is below zero stays white."""
    bound = max(1.0, *values)
    tokens = [
        StripToken(pos, text, t("neurons.strip_title", text=text, pos=pos, value=value), shade=max(0.0, value) / bound)
        for pos, (text, value) in enumerate(zip(view.shown, values))
    ]
    legend = Legend(unit, "0", f"{bound:.2f}")
    return token_strip_value(tokens, text=t.section("token_strip"), label=label, selected=view.position, legend=legend)
