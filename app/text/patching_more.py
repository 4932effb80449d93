"""Sentences of the patching tab's further panels: previews, paths, noise, and a whole set of pairs."""

EN: dict[str, str] = {}

KO: dict[str, str] = {}
