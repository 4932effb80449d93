"""Work of a tab that takes longer than a moment: computed behind the page, and shown when it is there.

Results are stages (`app.service.staged`): those of a moment are computed as they are shown, those of seconds behind the page
without being asked for, and the longest wait for a button that says how long they take. The one queue of the page never waits.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence

import gradio as gr

from app.page import Page
from app.service import staged
from app.service.staged import Stage
from app.service.view import View
from app.state import PageState
from app.text import words
from app.wiring import ended


def behind(
    page: Page, tab: str, stages: Callable[[View], Sequence[Stage]], depends: Callable[[PageState], Hashable], elem_id: str
) -> gr.State:
    """What changes when a stage has been computed: an input of the sections that show one. Made where its buttons shall be.

    stages(view): what the state asks for, in the order of computing; depends: as for `Page.shows`.
    """
    with gr.Row():
        go = gr.Button("", size="sm", variant="primary", visible=False, elem_id=f"{elem_id}_go")
        stop = gr.Button(page.label("page.stop_long"), size="sm", visible=False, elem_id=f"{elem_id}_stop")
    # `wanted` starts what is not asked for, `done` draws again; a change of `subject` ends what was asked for.
    wanted, done, subject = gr.State(""), gr.State(0), gr.State("")

    def asked(view: View) -> list[str]:
        return [staged.names(some) for some in (staged.unasked(view, stages(view)), stages(view))]

    def offer(view: View, done: int) -> list:
        long = staged.offered(view, stages(view))
        t = words(view.state.lang)
        said = t("page.compute_long", seconds=t.lasting(staged.seconds(view, long)))
        return [gr.update(visible=bool(long), value=said), gr.update(visible=bool(long))]

    def compute(some: Callable[..., list[Stage]]) -> Callable[[PageState, int], Iterator[int]]:
        def run(state: PageState, count: int) -> Iterator[int]:
            view = View(page.store, state)
            for number, stage in enumerate(some(view, stages(view)), 1):
                staged.finished(view, stage)
                yield count + number

        return run

    page.shows(tab, [wanted, subject], asked, depends=depends)
    page.shows(tab, [go, stop], offer, inputs=[done], depends=depends)
    both, options = [page.state, done], {"concurrency_id": elem_id}
    page.listen(wanted.change, compute(staged.unasked), both, [done], trigger_mode="always_last", **options)
    running = page.listen(go.click, compute(staged.waiting), both, [done], **options)
    ended(stop.click, running)
    ended(subject.change, running)
    page.refreshes(done.change)
    return done
