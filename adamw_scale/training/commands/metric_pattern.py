"""The number that a regular expression of the user's finds in what a command prints.

An expression may take for ever on a line that is made for it, and nothing can interrupt it here. So it is matched in a
process of its own, on a batch of lines at a time, which is ended when the time is over.

Expressions such as 'val loss ([0-9.]+)' stop before an exponent and pass over nan and inf. So an exponent behind the
number is taken along, and a line that would match with a number in the place of nan or inf counts as nan.
"""

import re
import subprocess
import sys
import warnings

from adamw_scale.errors import SpecError

LONGEST_PATTERN = 1000
LONGEST_LINE = 4096  # bytes of a line that are searched
BATCH = 1 << 22  # bytes of output that are searched at once
SECONDS = 10  # that this may take
COLOUR = re.compile(rb"\x1b\[[0-9;]*[A-Za-z]")
MATCHER = """
import re, resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[2]), int(sys.argv[2])))
pattern, last = re.compile(sys.argv[1]), None
exponent, word = re.compile("[eE][+-]?[0-9]+"), re.compile(r"(?i)[+-]?\\b(?:nan|inf(?:inity)?)\\b")
for line in sys.stdin.buffer.read().decode(errors="replace").split("\\n"):
    for match in pattern.finditer(line):
        if match[1] is not None:
            rest = exponent.match(line, match.end(1))
            last = match[1] + (rest[0] if rest and match[1][-1:].isdigit() else "")
    if "n" in line.lower() and (bare := word.sub("0.0", line)) != line and not pattern.search(line):
        last = "nan" if pattern.search(bare) else last
if last is not None:
    sys.stdout.buffer.write(b"=" + last.encode(errors="replace"))
"""


def refuse_unusable(pattern: str) -> None:
    """SpecError for what is no regular expression with exactly one group."""
    shown = pattern[:60]
    if len(pattern) > LONGEST_PATTERN or "\0" in pattern:
        raise SpecError(f"--metric-pattern {shown!r}: above {LONGEST_PATTERN} characters, or a NUL. Shorten it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            groups = re.compile(pattern).groups
    except (re.error, OverflowError, RecursionError) as error:
        raise SpecError(
            f"--metric-pattern {shown!r} is no regular expression ({error}): write one such as 'val loss ([0-9.]+)'"
        ) from None
    if groups != 1:
        raise SpecError(
            f"--metric-pattern {shown!r} has {groups} groups: put the number, and nothing else, in parentheses, as in "
            "'val loss ([0-9.]+)'; (?:...) is no group"
        )


class PatternSearch:
    """Searches the lines of several streams, as they come, for the last match."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.last: str | None = None
        self.timed_out = False
        self._rest: dict[str, bytes] = {}
        self._lines: list[bytes] = []
        self._size = 0

    def feed(self, stream: str, chunk: bytes) -> None:
        """Take in output of one stream, in pieces of any size."""
        *lines, rest = (self._rest.get(stream, b"") + chunk.replace(b"\r", b"\n")).split(b"\n")
        for line in lines:
            self._add(line)
        self._rest[stream] = rest[: 2 * LONGEST_LINE]  # colours in it may still fall away

    def end(self) -> None:
        """The output ended, perhaps without a newline."""
        for rest in self._rest.values():
            self._add(rest)
        self._rest.clear()
        self._search()

    def _add(self, line: bytes) -> None:
        line = COLOUR.sub(b"", line[: 2 * LONGEST_LINE])[:LONGEST_LINE]
        if line.strip():
            self._lines.append(line)
            self._size += len(line)
        if self._size > BATCH:
            self._search()

    def _search(self) -> None:
        batch, self._lines, self._size = b"\n".join(self._lines), [], 0
        if not batch or self.timed_out:
            return
        command = [sys.executable, "-I", "-S", "-c", MATCHER, self.pattern, str(SECONDS)]
        try:
            found = subprocess.run(command, input=batch, capture_output=True, timeout=SECONDS, check=True).stdout
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
            self.timed_out = True
            return
        self.last = found[1:].decode() if found else self.last
