"""Sentences of the page: scaling."""

EN: dict[str, str] = {}

KO: dict[str, str] = {}
