"""Pages that are written: one TOML file a kind, in which {cautions.WIDE:g} stands for a constant of this program."""

import re
import tomllib
from importlib.resources import files

from adamw_scale.advisor import answers, cautions, conversion, plausibility
from adamw_scale.auditing import checks, cost
from adamw_scale.explain.page import Page
from adamw_scale.law import fitted
from adamw_scale.rules import kept
from adamw_scale.theory import basin, measured_decay

CONSTANTS = {
    "answers": answers,
    "basin": basin,
    "cautions": cautions,
    "checks": checks,
    "conversion": conversion,
    "cost": cost,
    "fitted": fitted,
    "kept": kept,
    "measured_decay": measured_decay,
    "plausibility": plausibility,
}
FILES = {
    "caution": "cautions.toml",
    "finding": "findings.toml",
    "input": "inputs.toml",
    "status": "statuses.toml",
    "term": "terms.toml",
}


def written_pages(kind: str) -> list[Page]:
    """The pages of a kind, in the order of its file."""
    text = (files("adamw_scale.explain") / FILES[kind]).read_text(encoding="utf-8")
    return [_page(kind, topic, entry) for topic, entry in tomllib.loads(text).items()]


def _page(kind: str, topic: str, entry: dict[str, str | list[str]]) -> Page:
    said = {
        field: re.sub(r"(?<=\d)%", " %", each.format(**CONSTANTS))
        for field, each in entry.items()
        if isinstance(each, str)
    }
    return Page(
        kind=kind,
        topic=topic,
        title=said["title"],
        means=tuple(said["means"].strip().split("\n\n")),
        formula=said.get("formula"),
        facts={"said when": said["when"]} if "when" in said else {},
        source=said["source"],
        do=said["do"],
        see=tuple(entry.get("see", ())),
        also=tuple(entry.get("also", ())),
    )
