"""The page's language from its address. Gradio asks the browser for its language before any script of ours could run, so the
answer has to stand in the document itself."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from app.state import LANGUAGES

Message = MutableMapping[str, Any]
SCRIPT = """<script>
(() => {
  const lang = new URLSearchParams(location.search).get('lang');
  if (LANGUAGES.includes(lang)) for (const [name, value] of [['language', lang], ['languages', [lang]]])
    Object.defineProperty(navigator, name, { get: () => value, configurable: true });
})();
</script>""".replace("LANGUAGES", str(list(LANGUAGES))).encode()


class LanguageFromAddress:
    """ASGI middleware: puts SCRIPT into the head of the page, so that `?lang=ko` decides over the browser's setting."""

    def __init__(self, app: Callable[..., Awaitable[None]]):
        self.app = app

    async def __call__(self, scope: Message, receive: Any, send: Callable[[Message], Awaitable[None]]) -> None:
        if scope["type"] != "http" or scope["path"] != "/" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        start: list[Message] = []
        body = bytearray()

        async def collect(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.append(message)
                return
            body.extend(message.get("body", b""))
            if not message.get("more_body", False):
                page = bytes(body).replace(b"<head>", b"<head>" + SCRIPT, 1)
                headers = [(k, v) for k, v in start[0]["headers"] if k.lower() != b"content-length"]
                await send({**start[0], "headers": [*headers, (b"content-length", str(len(page)).encode())]})
                await send({"type": "http.response.body", "body": page})

        await self.app(scope, receive, collect)
