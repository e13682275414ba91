"""An audit in the languages of code review: SARIF 2.1.0 and GitHub's workflow commands."""

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from adamw_scale import __version__
from adamw_scale.formats.notebook import Notebook, is_notebook
from adamw_scale.noun import to_json
from adamw_scale.units import printable

if TYPE_CHECKING:
    from adamw_scale.auditing import Audit, Watched
    from adamw_scale.frameworks import Finding

COMMANDS = {"error": "error", "warning": "warning", "note": "notice"}  # GitHub's
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def line_of(finding: "Finding", text: str) -> int:
    """Line, from 1, on which a finding's key is written; 1 where it is not."""
    if is_notebook(text):
        notebook = Notebook(text)
        return notebook.line(line_of(finding, notebook.text))
    if finding.key:
        key = re.escape(finding.key.rpartition(".")[2]).replace("_", "[_-]")
        for number, line in enumerate(text.splitlines(), start=1):
            if re.search(rf"(?<![a-zA-Z0-9]){key}", line) and not line.lstrip().startswith("#"):
                return number
    return 1


def github(audit: "Audit | Watched", path: str, text: str) -> str:
    """One workflow command a finding, which GitHub shows beside the line."""
    lines = [
        f"::{COMMANDS[finding.severity]} "
        f"file={_property(path)},line={line_of(finding, text)},title={_property(finding.code)}::"
        + _data(f"{finding.message}. Fix: {finding.fix}")
        for finding in audit.findings
    ]
    if audit.asks:
        add = _data(f"add {', '.join(audit.asks)} to judge it against a recommendation")
        lines.append(f"::notice file={_property(path)},title=not-judged::{add}")
    return "\n".join(lines)


def sarif(audit: "Audit | Watched", path: str, text: str) -> str:
    """One SARIF run with a result a finding."""
    results: list[dict[str, Any]] = [
        {
            "ruleId": finding.code,
            "level": finding.severity,
            "message": {"text": f"{finding.message}. Fix: {finding.fix}"},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": quote(path.replace("\\", "/"))},
                        "region": {"startLine": line_of(finding, text)},
                    }
                }
            ],
        }
        for finding in audit.findings
    ]
    rules = [{"id": code} for code in dict.fromkeys(finding.code for finding in audit.findings)]
    driver = {"name": "adamw-scale", "version": __version__, "rules": rules}
    runs = [{"tool": {"driver": driver}, "results": results}]
    return to_json({"$schema": SCHEMA, "version": "2.1.0", "runs": runs})


def _data(text: str) -> str:
    """Text as a workflow command takes it."""
    return printable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
