"""The web page at `/docs`, made from the OpenAPI document.

It loads nothing, so it works behind a firewall.
"""

from __future__ import annotations

import json
from html import escape
from typing import Any

STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem}
body{color:#222;background:#fff}pre{background:#f4f4f4;padding:.75rem;overflow:auto}h2{margin-top:2rem}
code{font-size:.9em}td,th{text-align:left;padding:.1rem 1rem .1rem 0}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#1b1b1b}pre{background:#2a2a2a}a{color:#8ab4f8}}"""


def docs(document: dict[str, Any], root_path: str, needs_key: bool) -> str:
    """Return the HTML page for an OpenAPI document.

    With `needs_key`, the example sends the API key.
    """
    authorization = " -H 'authorization: Bearer KEY'" if needs_key else ""
    body = escape('{"text": "..."}')
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>tokensieve</title><style>{STYLE}</style>",
        f"<h1>tokensieve {escape(document['info']['version'])}</h1>"
        f"<p>{escape(document['info']['description'])}</p>",
        f"<pre>curl -s ADDRESS{escape(root_path)}/predict{authorization} -H 'content-type: application/json' "
        f"-d '{body}'</pre>",
        f'<p>For programs: <a href="{escape(root_path)}/openapi.json">openapi.json</a></p>',
    ]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            about = escape(operation.get("description", ""))
            parts.append(f"<h2><code>{method.upper()} {escape(root_path + path)}</code></h2><p>{about}</p>")
            if "requestBody" in operation:
                parts += [
                    "<h3>Body</h3>",
                    _schema(operation["requestBody"]["content"]["application/json"]["schema"]),
                ]
            parts += ["<table>", *(_status(*item) for item in operation["responses"].items()), "</table>"]
    parts += ["<h2>Responses</h2>"]
    for name, schema in document["components"]["schemas"].items():
        if "properties" in schema:
            parts += [
                f"<h3 id={escape(name)}>{escape(name)}</h3><p>{escape(schema.get('description', ''))}</p>",
                _schema(schema),
            ]
    return "\n".join(parts) + "</html>"


def _schema(schema: dict[str, Any]) -> str:
    rows = []
    for name, field in schema.get("properties", {}).items():
        shown = {key: value for key, value in field.items() if key not in ("title", "description")}
        needed = " (required)" if name in schema.get("required", ()) else ""
        kind = escape(json.dumps(shown, ensure_ascii=False).replace("#/components/schemas/", ""))
        rows.append(
            f"<tr><td><code>{escape(name)}</code>{needed}<td>{escape(field.get('description', ''))}"
            f"<td><code>{kind}</code>"
        )
    return "<table>" + "\n".join(rows) + "</table>"


def _status(status: str, response: dict[str, Any]) -> str:
    content = json.dumps(response.get("content", {}))
    names = sorted({part.split('"')[0] for part in content.split("#/components/schemas/")[1:]})
    links = ", ".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name in names)
    return f"<tr><td><code>{escape(status)}</code><td>{escape(response.get('description', ''))}<td>{links}"
