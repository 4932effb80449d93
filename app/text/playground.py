"""Sentences of the page: playground."""

EN: dict[str, str] = {}

KO: dict[str, str] = {}
