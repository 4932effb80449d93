"""What the page's document carries besides Gradio's: the language, and all scripts and styles of our pictures, once."""

import asyncio
import gzip
import json
import re
from concurrent.futures import ThreadPoolExecutor

import gradio as gr
import pytest

from app.components import base, bundle
from app.document import LANGUAGE, PLAIN, Document, middleware

PAGE = b"<!doctype html><html><head><title>x</title></head><body>" + b" " * 1000 + b"</body></html>"


async def _gradio(scope, receive, send):
    """Stands for what is behind the middleware."""
    body = PAGE if scope["path"].endswith("/") else scope["path"].encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})


def get(path, *, app=None, headers=(), **scope):
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "headers": list(headers), **scope}
    with ThreadPoolExecutor(1) as thread:  # of its own: a browser of another test may keep a loop in this one
        thread.submit(asyncio.run, (app or Document(_gradio))(scope, None, send)).result()
    return dict(sent[0]["headers"]), sent[1]["body"]


def addresses():
    return re.findall(r'"\./(glassbox/[0-9a-f]{16}\.(?:js|css))"', get("/")[1].decode())


@pytest.mark.parametrize("root", ["", "/under/this"])
def test_the_page_names_its_files_before_all_else_and_they_are_there_under_any_path(root):
    """A proxy may strip its prefix or leave it."""
    headers, page = get(f"{root}/", root_path=root)
    head = page.decode().split("<title>")[0]
    assert head.endswith("</script>") and LANGUAGE in head and PLAIN in head and int(headers[b"content-length"]) == len(page)
    style, script = addresses()
    for path in (f"/{script}", f"{root}/{script}"):
        headers, body = get(path, root_path=root)
        assert body.decode() == bundle.script() and b"immutable" in headers[b"cache-control"]
    assert get(f"/{style}", root_path=root)[1].decode() == bundle.style()


def test_what_is_not_ours_goes_through():
    assert get("/glassbox/0000000000000000.js")[1] == b"/glassbox/0000000000000000.js"
    assert get("/gradio_api/info")[1] == b"/gradio_api/info"


def test_the_page_is_compressed_and_events_are_not():
    async def events(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": b"data: x\n\n" * 1000, "more_body": True})

    def wrapped(app):
        for entry in reversed(middleware()):
            app = entry.cls(app, *entry.args, **entry.kwargs)
        return app

    wants = [(b"accept-encoding", b"gzip, br")]
    headers, page = get("/", app=wrapped(_gradio), headers=wants)
    assert headers[b"content-encoding"] == b"gzip" and gzip.decompress(page) == get("/")[1]
    headers, sent = get("/gradio_api/queue/data", app=wrapped(events), headers=wants)
    assert b"content-encoding" not in headers and sent.startswith(b"data: x\n\n")


def test_the_browser_is_only_told_of_languages_there_are():
    assert "if (['en', 'ko'].includes(lang)) for (" in LANGUAGE and LANGUAGE.count("LANGUAGES") == 0


def test_every_script_and_style_is_delivered_once():
    scripts = [path.read_text() for path in sorted((bundle.ASSETS / "js").glob("*.js"))]
    styles = [path.read_text() for path in sorted((bundle.ASSETS / "css").glob("*.css"))]
    assert all(bundle.script().count(text) == 1 for text in scripts) and all(bundle.style().count(text) == 1 for text in styles)
    assert {path.stem for path in (bundle.ASSETS / "css").glob("*.css")} <= set(bundle.kinds())


def test_an_instance_carries_one_line_and_its_events():
    part = base.html_component("stepper", "x", events=["more"])
    config = part.get_config()
    assert part.stepselect and part.rowselect and part.more
    assert len(json.dumps(config)) < 1000 and not config["css_template"] and config["js_on_load"].count("\n") == 0
    with pytest.raises(AttributeError):
        part.another  # noqa: B018
    with pytest.raises(ValueError, match="no script"):
        base.html_component("pixels", "x")


@pytest.mark.parametrize("kind", bundle.kinds())
def test_each_kind_starts_in_its_own_scope(kind):
    """`const` of one script must not be seen by another: each is the body of a function."""
    assert f"Glassbox.mount.{kind} = (element, trigger, props, watch) => {{\n" in bundle.script()
    assert isinstance(base.html_component(kind, "x"), gr.HTML)
