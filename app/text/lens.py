"""Sentences of the page: lens."""

EN: dict[str, str] = {}

KO: dict[str, str] = {}
