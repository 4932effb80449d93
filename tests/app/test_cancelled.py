"""What the page hears of an event that was cancelled, from a Gradio that runs."""

import json
import time

import gradio as gr
import httpx
import pytest
from browsers import served

from app.cancelled import Cancelled

SESSION = "s1"
A_TEXT = '"msg":"process_completed","output":{},"success":true'


@pytest.fixture(scope="module")
def address():
    def count():
        for i in range(1000):
            yield i, A_TEXT
            time.sleep(0.02)

    with gr.Blocks() as demo:
        shown, text = gr.Number(), gr.Textbox()
        gr.Button().click(count, None, [shown, text])
    with served(demo) as url:
        yield f"{url}gradio_api"


def messages_of(address, cancel_after):
    """The messages of one event, cancelled when it has answered so many times."""
    joined = {"data": [], "fn_index": 0, "session_hash": SESSION}
    event = httpx.post(f"{address}/queue/join", json=joined).json()["event_id"]
    messages, answers = [], 0
    with httpx.stream("GET", f"{address}/queue/data", params={"session_hash": SESSION}, timeout=60) as stream:
        for line in stream.iter_lines():
            if not line.startswith("data: "):
                continue
            messages.append(json.loads(line.removeprefix("data: ")))
            answers += messages[-1]["msg"] == "process_generating"
            if answers == cancel_after:
                cancelled = {"session_hash": SESSION, "fn_index": 0, "event_id": event}
                assert httpx.post(f"{address}/cancel", json=cancelled, timeout=60).json() == {"success": True}
    return messages


def test_a_cancelled_event_ends_with_data_for_nothing(address):
    *messages, ended, closed = messages_of(address, cancel_after=3)
    assert (ended["msg"], ended["success"], closed["msg"]) == ("process_completed", True, "close_stream")
    assert ended["output"] == {"data": []}
    shown = [m["output"]["data"] for m in messages if m["msg"] == "process_generating"]
    assert len(shown) >= 3 and shown[0][1] == A_TEXT  # words of a visitor are never touched


def test_gradio_still_says_it_without_data(address, monkeypatch):
    """When this fails, Gradio has mended it, and `app.cancelled` can go."""

    async def as_it_is(self, scope, receive, send):
        await self.app(scope, receive, send)

    monkeypatch.setattr(Cancelled, "__call__", as_it_is)
    assert messages_of(address, cancel_after=3)[-2]["output"] == {}
