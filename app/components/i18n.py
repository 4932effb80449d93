"""Static labels that Gradio translates in the browser; the language is the address's `lang`, else the browser's."""

import gradio as gr
from gradio.i18n import I18nData

from app.text import EN, KO


class Labels(gr.I18n):
    """Carries to the browser what was asked for while the page was built, and none of the sentences that the server fills in."""

    def __init__(self):
        super().__init__(en={}, ko={})

    def __call__(self, key: str) -> I18nData:
        self.translations["en"][key], self.translations["ko"][key] = EN[key], KO[key]
        return super().__call__(key)


I18N = Labels()
