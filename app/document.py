"""The page's document, and the two files it needs from us: all scripts and all styles of its pictures (`app.components.bundle`).

What has to be there before Gradio starts stands in the document itself: the language, because Gradio asks the browser for it before
any script of ours could run, and the scripts, because a component calls its own when it appears. They are `defer`red, so they run
after the document is read and before Gradio's module, which is deferred too and stands later. Addresses are relative, so the page works
under any path and in a frame. A file's name has a hash of its content: the browser keeps it for good.
"""

import hashlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware

from app.components import bundle
from app.state import LANGUAGES

Message = MutableMapping[str, Any]
LANGUAGE = """<script>
(() => {
  const lang = new URLSearchParams(location.search).get('lang');
  if (LANGUAGES.includes(lang)) for (const [name, value] of [['language', lang], ['languages', [lang]]])
    Object.defineProperty(navigator, name, { get: () => value, configurable: true });
})();
</script>""".replace("LANGUAGES", str(list(LANGUAGES)))
# Gradio (6.31) asks every event about every component, twice, through Svelte's proxies: 700 x 460 x 2 questions, a second. Svelte puts
# a proxy around arrays and plain objects only; a kind of array of its own, which is never changed, is read as it is.
PLAIN = """<script>
(() => {
  let config;
  class Plain extends Array {}
  Object.defineProperty(window, 'gradio_config', { configurable: true, get: () => config, set(value) {
    if (Array.isArray(value?.dependencies)) Object.setPrototypeOf(value.dependencies, Plain.prototype);
    config = value;
  } });
})();
</script>"""


def _named(kind: str, text: str) -> str:
    return f"glassbox/{hashlib.blake2s(text.encode(), digest_size=8).hexdigest()}.{kind}"


class Document:
    """ASGI middleware: adds to the head of the page, and serves the two files."""

    def __init__(self, app: Callable[..., Awaitable[None]]):
        self.app = app
        script, style = _named("js", bundle.script()), _named("css", bundle.style())
        self.files = {
            f"/{script}": (b"text/javascript; charset=utf-8", bundle.script().encode()),
            f"/{style}": (b"text/css; charset=utf-8", bundle.style().encode()),
        }
        self.head = (
            f'{LANGUAGE}{PLAIN}<link rel="stylesheet" href="./{style}"><script defer src="./{script}"></script>'.encode()
        )

    async def __call__(self, scope: Message, receive: Any, send: Callable[[Message], Awaitable[None]]) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/"))  # a proxy may have left its prefix
        if path in self.files:
            kind, body = self.files[path]
            await _answer(send, [(b"content-type", kind), (b"cache-control", b"public, max-age=31536000, immutable")], body)
        elif path in ("", "/"):
            await self._page(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _page(self, scope: Message, receive: Any, send: Callable[[Message], Awaitable[None]]) -> None:
        start: list[Message] = []
        body = bytearray()

        async def collect(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.append(message)
                return
            body.extend(message.get("body", b""))
            if not message.get("more_body", False):
                page = bytes(body).replace(b"<head>", b"<head>" + self.head, 1)
                headers = [(k, v) for k, v in start[0]["headers"] if k.lower() != b"content-length"]
                await _answer(send, headers, page, start[0]["status"])

        await self.app(scope, receive, collect)


async def _answer(send: Callable[[Message], Awaitable[None]], headers: list, body: bytes, status: int = 200) -> None:
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def middleware() -> list[Middleware]:
    """What `launch(app_kwargs={"middleware": ...})` needs. The page travels compressed; streams of events pass as they are."""
    return [Middleware(GZipMiddleware, minimum_size=1000, compresslevel=6), Middleware(Document)]
