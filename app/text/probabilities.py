"""Sentences of the page: probabilities."""

EN: dict[str, str] = {}

KO: dict[str, str] = {}
