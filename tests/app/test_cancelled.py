"""An event that the page cancels, in a Gradio that runs, while what the page and the server say to each other is late."""

import threading
import time

import gradio as gr
import pytest
from browsers import served, watched

from app.wiring import ended, restarted

pytestmark = pytest.mark.browser
COUNT, AFTER = "document.querySelector('#shown input').value", "document.querySelector('#said textarea').value"


class Counting:
    """A page that counts until it is stopped, and what the server has seen of it."""

    def __init__(self):
        self.begun, self.ended = [], threading.Semaphore(0)
        with gr.Blocks() as self.demo:
            shown, said = gr.Number(elem_id="shown"), gr.Textbox(elem_id="said")
            names = ("start", "stop", "after", "anew")
            start, stop, after, anew = (gr.Button(elem_id=name) for name in names)
            running = start.click(self.count, None, shown)
            self.function = running["id"]
            ended(stop.click, running).then(lambda: (-1, "stopped"), None, [shown, said])
            after.click(lambda said: f"{said} +", said, said, trigger_mode="multiple")
            wish, number = gr.State(0), gr.State(0)
            anew.click(lambda n: (n + 1, n + 1), number, [wish, number])
            again = wish.change(None).then(self.count, wish, shown, trigger_mode="always_last")
            restarted(wish, again)

    def count(self, first: int = 0):
        self.begun.append(first)
        try:
            for i in range(10_000):
                yield first * 100_000 + i
                time.sleep(0.01)
        finally:
            self.ended.release()

    def asks(self, route) -> bool:
        return route.request.post_data_json["fn_index"] == self.function


@pytest.fixture
def counting():
    return Counting()


@pytest.fixture
def page(counting, chromium):
    with served(counting.demo) as url, watched(chromium, url, 600) as page:
        page.wait_for_selector("#shown input")
        yield page


def said(page, text):
    page.wait_for_function(f"{AFTER} === '{text}'")


def nothing_follows(page):
    """All that the server had sent by now is painted, and it is what Stop left, without a word of an error."""
    before = page.evaluate(AFTER)
    page.click("#after")
    said(page, f"{before} +")
    assert page.evaluate(COUNT) == "-1" and not page.locator(".error:visible").count()


def counts(page, more_than=3):
    page.wait_for_function(f"Number({COUNT}) > {more_than}")


def test_what_is_stopped_before_it_has_its_id_is_stopped(counting, page):
    held = []
    page.route("**/queue/join*", lambda route: held.append(route) if counting.asks(route) else route.continue_())
    page.click("#start")
    page.click("#stop")
    said(page, "stopped")
    (start,) = held
    with page.expect_response("**/cancel") as cancel, page.expect_response(lambda r: r.request == start.request) as joined:
        start.continue_()
    assert cancel.value.request.post_data_json["event_id"] == joined.value.json()["event_id"]
    nothing_follows(page)
    assert all(counting.ended.acquire(timeout=60) for _ in counting.begun)  # if it had begun by then, it computes no more


def test_what_is_stopped_is_painted_no_more_however_late_the_server_hears_of_it(counting, page):
    held = []
    page.route("**/cancel", lambda route: route.continue_() if held else held.append(route))
    page.click("#start")
    counts(page)
    page.click("#stop")
    said(page, "stopped")
    nothing_follows(page)
    page.click("#start")  # which waits: the server would end it with the first
    nothing_follows(page)
    assert len(held) == 1 and counting.begun == [0]
    held[0].continue_()
    counts(page)
    page.click("#stop")
    page.wait_for_function(f"{COUNT} === '-1'")
    assert all(counting.ended.acquire(timeout=60) for _ in range(2))
    nothing_follows(page)


def test_what_is_wanted_anew_ends_what_ran_and_only_that(counting, page):
    for number in (1, 2, 3):
        page.click("#anew")
        counts(page, number * 100_000 + 3)
    assert counting.begun == [1, 2, 3] and all(counting.ended.acquire(timeout=60) for _ in range(2))
    assert not counting.ended.acquire(blocking=False)


def test_gradio_still_does_none_of_this(counting, chromium):
    """When this fails, Gradio has mended what its own part says of a stopped event, and `assets/js/cancelled.js` can go."""
    with served(counting.demo) as url:
        page = chromium.new_page()
        page.route("**/glassbox/*.js", lambda route: route.fulfill(body="", content_type="text/javascript"))
        page.route("**/cancel", lambda route: None)
        page.goto(url)
        page.click("#start")
        counts(page)
        page.click("#stop")
        said(page, "stopped")
        page.wait_for_function(f"Number({COUNT}) > 0")  # it is painted over what Stop left
        page.close()
