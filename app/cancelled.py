"""What the page hears of an event that was cancelled: that it ended, and that nothing on the page changes.

Gradio (6.31) ends a cancelled event with an answer that has no data at all. Its browser part, if the answer comes after it has put the
event away, looks for data, fails, and writes "Error" over everything the event would have filled: a text that was stopped on purpose.
With data for no component the same answer is read as what it is.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
NO_DATA, NOTHING_NEW = b'"output":{},"success":true', b'"output":{"data":[]},"success":true'


class Cancelled:
    """ASGI middleware over the stream of answers, which Gradio sends message by message."""

    def __init__(self, app: Callable[..., Awaitable[None]]):
        self.app = app

    async def __call__(self, scope: Message, receive: Any, send: Callable[[Message], Awaitable[None]]) -> None:
        async def tell(message: Message) -> None:
            body = message.get("body", b"")
            if b'"msg":"process_completed"' in body and NO_DATA in body:
                message = {**message, "body": body.replace(NO_DATA, NOTHING_NEW)}
            await send(message)

        answers = scope["type"] == "http" and scope["path"].endswith("/queue/data")
        await self.app(scope, receive, tell if answers else send)
