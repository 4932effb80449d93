"""A component's value as one string of JSON, for values with thousands of small parts.

Gradio's page wraps every list and dict of a value in a proxy of its own and copies it on each change, which costs seconds for a value
of a few thousand parts on a slow machine; a string is passed on as it is. The script opens it with `JSON.parse(value.sealed)`.
"""

import json
from collections.abc import Mapping
from typing import Any

from app.components.base import content_id


def sealed(content: Mapping[str, Any]) -> dict[str, str]:
    """{"id": a hash of the content, "sealed": the content with that id, as JSON}. Raises ValueError for NaN and infinities."""
    id = content_id(dict(content))
    return {"id": id, "sealed": json.dumps({"id": id, **content}, ensure_ascii=False, allow_nan=False, separators=(",", ":"))}


def opened(value: Mapping[str, str]) -> dict[str, Any]:
    """The content of a sealed value, as the browser reads it."""
    return json.loads(value["sealed"])
