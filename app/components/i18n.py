"""Static labels that Gradio translates in the browser; the language is the address's `lang`, else the browser's."""

import gradio as gr

from app.text import EN, KO

I18N = gr.I18n(en=EN, ko=KO)
