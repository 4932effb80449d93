"""Sentences of the page: attention."""

EN: dict[str, str] = {}

KO: dict[str, str] = {}
