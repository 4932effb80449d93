"""The badge of an identity that was checked."""

from app.components.panel import Badge
from app.text import Words
from interp.run import Check


def check_badge(t: Words, check: Check, name: str) -> Badge:
    """Whether a check holds, and on hover by how much it was missed. name: the identity, in the page's language."""
    title = t("page.check_title", name=name, residual=check.residual, tolerance=check.tolerance)
    return Badge(t("page.checked" if check.holds else "page.check_failed"), title, ok=check.holds)


def identity(t: Words, check: Check | None) -> list[Badge]:
    """The badge of one of `app.service.identities`, if it could be checked."""
    return [] if check is None else [check_badge(t, check, t(f"checks.{check.name}"))]


def origin(t: Words, name: str, **values: object) -> Badge:
    """Where numbers come from that nothing on the page computes, or that no identity holds of."""
    return Badge(t(f"checks.{name}"), t(f"checks.{name}_title", **values))
