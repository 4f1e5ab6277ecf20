"""README on a package index: its links and pictures, relative in the repository, lead to the files of the release."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from repository import ROOT

import edgeloop

REPOSITORY = "https://git.example/edgeloop/edgeloop"
LINKS = re.compile(r"(?:\]\(|src=\"|srcset=\")([^)\"\s]+)")


def description(**environment: str) -> str:
    variables = {name: value for name, value in os.environ.items() if name != "EDGELOOP_REPOSITORY"}
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "--long-description"],
        cwd=ROOT,
        env=variables | {"EDGELOOP_PURE": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def test_the_links_of_a_release_lead_to_the_files_of_its_version() -> None:
    links = LINKS.findall(description(EDGELOOP_REPOSITORY=f"{REPOSITORY}/"))
    assert len(links) > 20
    tag = f"v{edgeloop.__version__}"
    for link in links:
        if link.startswith("#"):
            continue
        found = re.fullmatch(rf"{re.escape(REPOSITORY)}/(blob|raw)/{re.escape(tag)}/(.*)", link)
        assert found, link
        kind, path = found.groups()
        assert (ROOT / path).exists()
        assert (kind == "raw") == path.endswith(".svg")


def test_without_an_address_the_links_stay_as_they_are() -> None:
    assert description().rstrip() == (ROOT / "README.md").read_text().rstrip()
