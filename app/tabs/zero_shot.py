"""Tab: zero_shot."""

from app.page import Page


def build(page: Page) -> None:
    """The tab's components and what they show."""
