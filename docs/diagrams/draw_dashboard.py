"""Draws docs/grafana-dashboard.json from a Prometheus, without Grafana, and says which expressions return nothing.

    python docs/diagrams/draw_dashboard.py http://127.0.0.1:9090 --minutes 5 --out dashboard.png

Needs matplotlib. It asks the same queries as Grafana would, with all jobs and loops chosen; only the drawing is its own. The
exit status is 1 if an expression returned no series.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

DASHBOARD = Path(__file__).parents[1] / "grafana-dashboard.json"
UNITS = {"percentunit": (100, " %"), "s": (1000, " ms"), "bytes": (1 / 1024, " KiB"), "Bps": (1 / 1024, " KiB/s")}


def ask(server: str, expression: str, start: float, end: float) -> list[dict[str, Any]]:
    """Return the series of an expression: /api/v1/query_range of Prometheus' HTTP API."""
    for name, value in (("$job", ".*"), ("$loop", ".*"), ("$__rate_interval", "10s")):
        expression = expression.replace(name, value)
    question = urllib.parse.urlencode({"query": expression, "start": start, "end": end, "step": "2s"})
    with urllib.request.urlopen(f"{server}/api/v1/query_range?{question}", timeout=30) as answer:
        found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    return found


def legend(pattern: str, metric: dict[str, str]) -> str:
    """Return the name of a series by Grafana's pattern: ``{{job}} {{loop}}``."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: metric.get(found[1], ""), pattern)


def draw(server: str, start: float, end: float, out: Path) -> int:
    """Draw all panels where the dashboard has them. Return how many expressions returned nothing."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import dates, pyplot

    panels = json.loads(DASHBOARD.read_text())["panels"]
    lines = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    figure = pyplot.figure(figsize=(15, lines * 0.32))
    empty = 0
    for panel in panels:
        place = panel["gridPos"]
        axes = figure.add_axes(
            (
                place["x"] / 24 + 0.032,
                1 - (place["y"] + place["h"]) / lines + 0.028,
                place["w"] / 24 - 0.045,
                place["h"] / lines - 0.055,
            )
        )
        factor, unit = UNITS.get(panel["fieldConfig"]["defaults"].get("unit", ""), (1, ""))
        for target in panel["targets"]:
            series = ask(server, target["expr"], start, end)
            if not series:
                empty += 1
                print(f"no data: {panel['title']}: {target['expr']}", file=sys.stderr)
            for one in series:
                when = [datetime.datetime.fromtimestamp(float(at)) for at, _ in one["values"]]
                values = [float(value) * factor for _, value in one["values"]]
                axes.plot(when, values, linewidth=1, label=legend(target["legendFormat"], one["metric"]))
        axes.set_title(panel["title"] + (f",{unit}" if unit else ""), fontsize=9, loc="left")
        axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))
        axes.xaxis.set_major_locator(dates.MinuteLocator())
        axes.tick_params(labelsize=7)
        axes.grid(linewidth=0.3)
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=6, loc="upper left", ncols=3)
    figure.savefig(out, dpi=80)
    return empty


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--out", type=Path, default=Path("dashboard.png"))
    chosen = parser.parse_args()
    end = time.time()
    return int(draw(chosen.server, end - chosen.minutes * 60, end, chosen.out) > 0)


if __name__ == "__main__":
    sys.exit(main())
