"""Sentences of the page: zero_shot."""

EN: dict[str, str] = {}

KO: dict[str, str] = {}
