"""benchmarks/results.json, by kind of processor and by program, and benchmarks/RESULTS.md, which is drawn from it."""

import json
import platform
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.tables import markdown
from imageclf.runtime.files import write_json, write_text
from imageclf.runtime.platform import available_cores

RESULTS = Path("benchmarks/results.json")
PAGE = Path("benchmarks/RESULTS.md")
CPUINFO = Path("/proc/cpuinfo")


def keep(section: str, figures: dict[str, Any], kind: str, *, results: Path = RESULTS, page: Path = PAGE) -> str:
    """Put a section in its place among those of its kind of processor, and draw the page anew; its own Markdown."""
    known = json.loads(results.read_text()) if results.exists() else {}
    known[kind] = known.get(kind, {}) | {section: figures}
    write_json(results, known)
    write_text(page, markdown(known))
    return markdown({kind: {section: figures}})


def known_section(section: str, kind: str) -> dict[str, Any]:
    """What an earlier run has kept; empty if none has."""
    return json.loads(RESULTS.read_text()).get(kind, {}).get(section, {}) if RESULTS.exists() else {}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and most, to five digits."""
    figures = {"median": statistics.median(values), "low": min(values), "high": max(values)}
    return {name: float(f"{value:.5g}") for name, value in figures.items()}


def this_machine(made_with: dict[str, str]) -> dict[str, Any]:
    """What the figures hang on; `made_with` is what torch says of itself."""
    today = datetime.now(tz=UTC).date().isoformat()
    return made_with | {"processor": _processor(), "cores": available_cores(), "date": today}


def _processor() -> str:
    lines = CPUINFO.read_text().splitlines() if CPUINFO.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
