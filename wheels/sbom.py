"""The software bill of materials of a wheel, PEP 770: CycloneDX 1.6, in ``.dist-info/sboms``.

A wheel brings no other project's library with it. What is not ours is Cython's own code in the C files that it makes.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import uuid
from typing import Any

NAME = "edgeloop.cdx.json"


def _licensed(name: str) -> list[dict[str, Any]]:
    return [{"license": {"id": name}}]


def bill(version: str, epoch: int, contents: bytes, tools: dict[str, str], python: str) -> bytes:
    """Return the bill of a wheel: ``contents`` is its shared object, empty for the pure wheel."""
    edgeloop = f"pkg:pypi/edgeloop@{version}"
    components = []
    if contents:
        cython = f"pkg:pypi/cython@{tools['Cython']}"
        components.append(
            {
                "type": "library",
                "bom-ref": cython,
                "name": "Cython",
                "version": tools["Cython"],
                "description": "its utility code, which stands in the C files that it makes",
                "licenses": _licensed("Apache-2.0"),
                "purl": cython,
            }
        )
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        # Not a random one: the same wheel has the same bytes.
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, edgeloop + python + _digest(contents))}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.datetime.fromtimestamp(epoch, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "lifecycles": [{"phase": "build"}],
            "tools": {
                "components": [
                    {"type": "application", "name": name, "version": number} for name, number in sorted(tools.items())
                ]
            },
            "component": {
                "type": "library",
                "bom-ref": edgeloop,
                "name": "edgeloop",
                "version": version,
                "licenses": _licensed("MIT"),
                "purl": edgeloop,
                "properties": [{"name": "edgeloop:wheel", "value": python}],
                **({"hashes": [{"alg": "SHA-256", "content": _digest(contents)}]} if contents else {}),
            },
        },
        "components": components,
        "dependencies": [
            {"ref": edgeloop, "dependsOn": [component["bom-ref"] for component in components]},
            *({"ref": component["bom-ref"], "dependsOn": []} for component in components),
        ],
    }
    return (json.dumps(document, indent=1) + "\n").encode()


def _digest(contents: bytes) -> str:
    return hashlib.sha256(contents).hexdigest()
