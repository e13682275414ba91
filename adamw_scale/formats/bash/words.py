"""What a word of bash becomes: quotes, variables, arithmetic and splitting; nothing is run.

What cannot be told, or is too rare to be followed, stays in the text as a mark, see values.py.
"""

import fnmatch
import re
from collections.abc import Generator, Iterator
from typing import NamedTuple

from adamw_scale.formats.bash.syntax import DEEPEST, closing, quoted_end
from adamw_scale.formats.bash.values import WIDE, defaulted, has_text, is_known, like, plain, widened
from adamw_scale.formats.bash.variables import LISTS, Variables

MOST_STARS = 2  # of a pattern that is looked for inside a text
_PARAMETER = re.compile(r"(#?)([A-Za-z_]\w*|\d+|[@*#?$!\-])(?:\[([^\[\]]*)\])?(.*)", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_]\w*|\d|[@*#?$!\-]")
_BRACES = re.compile(r"\{[^{}\s]*(,|\.\.)[^{}\s]*\}")
_LITERAL = {True: re.compile(r"[^\\$`\"]+"), False: re.compile(r"[^\\$`\"']+")}  # by whether it is quoted


class Piece(NamedTuple):
    """A part of a word. A break ends one field and starts another."""

    text: str
    kind: str  # "literal", "quoted", "split" or "break"


BREAK = Piece(" ", "break")


class Expander(Variables):
    """Expands words with the variables of a scope."""

    def fields(self, source: str) -> list[str]:
        """The arguments that a word becomes."""
        pieces = list(self._pieces(source, 0))
        braces = _BRACES.search("".join(piece.text if piece.kind == "literal" else "_" for piece in pieces))
        fields: list[str] = []
        current: str | None = None
        for piece in pieces:
            text = piece.text
            if piece.kind in ("literal", "split"):  # * and ? stand for files that nobody knows
                text = re.sub(r"[*?]", lambda each: self.unknowns.mark(each[0], source), text)
            if piece.kind == "literal" and braces:
                text = text.replace("{", self.unknowns.mark("{", source))
            if piece.kind == "split" and not self.scope.splits and plain(text):
                text = self.unknowns.mark(text, f"{text} split by another IFS")
            parts = re.split(r"[ \t\n]+", widened(text)) if piece.kind in ("split", "break") else [text]
            for number, part in enumerate(parts):
                if number and current is not None:
                    fields.append(current)
                if number:
                    current = None
                if plain(part) or piece.kind in ("literal", "quoted"):
                    current = (current or "") + part
        fields += [] if current is None else [current]
        self.spend(sum(map(len, fields)))
        self.step(len(fields))
        return fields

    def single(self, source: str) -> str:
        """The one text that a word is where nothing is split, as in an assignment."""
        text = "".join(piece.text for piece in self._pieces(source, 0))
        self.spend(len(text))
        return text

    def pattern(self, source: str) -> str | None:
        """A pattern as fnmatch reads it; None where it is not known or of a kind that is not followed."""
        found = ""
        for piece in self._pieces(source, 0):
            text = plain(piece.text)
            found += re.sub(r"([*?\[])", r"[\1]", text) if piece.kind == "quoted" else text.replace("[^", "[!")
        return None if re.search(r"[@?*+!]\(|\\", found) or not is_known(found) else found

    def number(self, source: str) -> str:
        """What $((source)) is, as text."""
        text = "".join(piece.text for piece in self._pieces(source.replace('"', ""), 0, quoted=True))
        return self.computed(text, source)

    def place(self, name: str, key: str) -> str:
        """The index or key of an item, as the array has it."""
        if name in self.scope.keyed:
            return self.single(key)
        index = self.number(key)
        if is_known(index) and plain(index).startswith("-"):
            items = self.items(name)
            if any(WIDE in each for each in items.values()):
                return self.unknowns.mark(f"${{{name}[{key}]}}")
            return like(str(int(plain(index)) + 1 + max(map(int, items), default=-1)), index)
        return index

    def _pieces(self, source: str, depth: int, *, quoted: bool = False) -> Iterator[Piece]:
        r"""The parts of a word; `quoted` as between double quotes, where only $, ` and \ mean something."""
        if depth > DEEPEST:
            raise ValueError("nested too deeply")
        at = 0
        kind = "quoted" if quoted else "literal"
        if not quoted and re.match(r"~(/|$)", source):
            yield Piece(self.unknowns.mark("~"), "quoted")
            at = 1
        while at < len(source):
            if literal := _LITERAL[quoted].match(source, at):
                yield Piece(literal[0], kind)
                at = literal.end()
                continue
            sign, start = source[at], at
            if sign == "\\":
                at += 2
                escaped = source[start + 1 : at]
                if escaped != "\n":
                    yield Piece("\\" + escaped if quoted and escaped not in '$`"\\' else escaped, "quoted")
            elif sign == "$":
                at = yield from self._dollar(source, at, depth, quoted=quoted)
            else:
                at = quoted_end(source, at)
                inside = source[start + 1 : at - 1]
                if sign == "'":
                    yield Piece(inside, "quoted")
                elif sign == "`":
                    yield Piece(self.unknowns.mark(source[start:at]), "quoted" if quoted else "split")
                else:
                    none = re.fullmatch(r"\$(@|\{\w*[\[@].*\})", inside, re.DOTALL)  # of a list that may be empty
                    found = list(self._pieces(inside, depth + 1, quoted=True))
                    yield from found or ([] if none else [Piece("", "quoted")])

    def _dollar(self, source: str, at: int, depth: int, *, quoted: bool) -> Generator[Piece, None, int]:
        """What a $ starts; returns where it ends."""
        self.step()
        kind = "quoted" if quoted else "split"
        following = source[at + 1 : at + 2]
        if following in ("(", "{"):
            close = closing(source, at + 1)
            if following == "{":
                yield from self._parameter(source[at + 2 : close - 1], depth, quoted=quoted)
            elif source.startswith("$((", at) and source.endswith("))", at, close):
                yield Piece(self.number(source[at + 3 : close - 2]), kind)
            else:
                yield Piece(self.unknowns.mark(source[at:close]), kind)
            return close
        if following == "'" and not quoted:
            ansi = re.compile(r"((?:[^\\']|\\.)*)'", re.DOTALL).match(source, at + 2)
            if ansi is None:
                raise ValueError("No closing quotation")
            yield Piece(self.unknowns.mark(f"$'{ansi[1]}'") if "\\" in ansi[1] else ansi[1], "quoted")
            return ansi.end()
        if following == '"' and not quoted:
            return at + 1
        name = _NAME.match(source, at + 1)
        if name is None:
            yield Piece("$", "quoted" if quoted else "literal")
            return at + 1
        yield from self._parameter(name[0], depth, quoted=quoted)
        return name.end()

    def _parameter(self, inside: str, depth: int, *, quoted: bool) -> Iterator[Piece]:
        """What ${inside} is."""
        kind = "quoted" if quoted else "split"
        match = _PARAMETER.fullmatch(inside)
        if match is None or (match[2] == "!" and match[4]):  # ${!x} may be several
            yield Piece(self.unknowns.mark(f"${{{inside}}}") + WIDE, kind)
            return
        sign, name, key, rest = match.groups()
        if name in LISTS or key in LISTS:
            yield from self._list(inside, sign, name, rest, depth, quoted=quoted, one="*" in (name, key) and quoted)
            return
        place = "0" if key is None else self.place(name, key)
        value = self.value(name, plain(place)) if is_known(place) else self.unknowns.mark(f"${{{inside}}}", place)
        value = None if value is None else like(value, place)
        operator = re.match(r":?[-=+?]", rest)
        word = rest[operator.end() :] if operator else ""
        may_be = tuple(text for each in self.unknowns.within(value or "") for text in each.alternatives)
        unknown = Piece(self.unknowns.mark(f"${{{inside}}}", alternatives=(word, *may_be) if rest else ()), kind)
        if sign:
            known = value is None or is_known(value)
            yield Piece(like(str(len(plain(value or ""))), value or ""), kind) if known and not rest else unknown
        elif not rest:
            yield Piece((value or "").replace(WIDE, "") if quoted else value or "", kind)
        elif operator:
            target = name if key is None else ""
            yield from self._otherwise(target, value, operator[0], word, unknown, depth, quoted=quoted)
        else:
            changed = self._changed(plain(value or ""), rest) if is_known(value or "") else None
            yield unknown if changed is None else Piece(like(changed, value or ""), kind)

    def _list(
        self, inside: str, sign: str, name: str, rest: str, depth: int, *, quoted: bool, one: bool
    ) -> Iterator[Piece]:
        """${name[@]} and its like; `one` where it is joined to one word."""
        kind = "quoted" if quoted else "split"
        found = list(self.items(name).values())
        certain = not any(WIDE in each for each in found) and (name not in self.scope.keyed or len(found) < 2)
        cut = re.fullmatch(r":([1-9]\d{0,3})", rest)
        if sign and certain and not rest:
            yield Piece(str(len(found)), kind)
        elif sign or (rest and not certain) or (name in self.scope.keyed and not certain):
            yield Piece(self.unknowns.mark(f"${{{inside}}}") + ("" if sign or one else WIDE), kind)
        elif re.match(r":?\+", rest) and (not found or any(map(plain, found))):
            for piece in self._pieces(rest.lstrip(":")[1:], depth + 1, quoted=quoted) if found else ():
                yield Piece(piece.text, "split" if piece.kind == "literal" else piece.kind)
        elif not rest or (cut and name in LISTS) or (rest in ("-", ":-") and any(map(plain, found))):
            found = found[int(cut[1]) - 1 :] if cut else found
            found = [" ".join(found).replace(WIDE, "")] if one else found
            for number, each in enumerate(found):
                yield from ([BREAK] if number else [])
                yield Piece(each, kind)
        else:
            yield Piece(self.unknowns.mark(f"${{{inside}}}") + WIDE, kind)

    def _otherwise(
        self, name: str, value: str | None, operator: str, word: str, unknown: Piece, depth: int, *, quoted: bool
    ) -> Iterator[Piece]:
        """${name:-word} and its like."""
        outside = self.unknowns.alone(value) if value is not None else None
        from_outside = outside is not None and bool(outside.name)
        if value is not None and not is_known(value) and not from_outside:
            empty_counts = operator[0] == ":" and not has_text(value)
            found = unknown if empty_counts or operator[-1] == "+" else unknown._replace(text=value)
            if operator[-1] == "=" and name:
                self.assign(name, found.text)
            yield found
            return
        missing = value is None or from_outside or (not plain(value) and operator[0] == ":")
        if (from_outside and operator[-1] in "+?") or (operator[-1] == "?" and missing):
            yield unknown
        elif missing == (operator[-1] == "+"):
            yield unknown._replace(text="" if operator[-1] == "+" else value or "")
        else:
            pieces = []
            for piece in self._pieces(word, depth + 1, quoted=quoted):
                text = defaulted(piece.text) if from_outside else like(piece.text, value or "")
                pieces.append(Piece(text, "split" if piece.kind == "literal" else piece.kind))
            if operator[-1] == "=" and name:
                self.assign(name, "".join(piece.text for piece in pieces))
            yield from pieces

    def _changed(self, value: str, rest: str) -> str | None:
        """A text cut or replaced by an operator of ${}; None where that is not followed."""
        if replaced := re.fullmatch(r"(//?)([\w.,:+= \-]+)/([\w.,:+= \-]*)", rest):
            return value.replace(replaced[2], replaced[3], -1 if replaced[1] == "//" else 1)
        trim = re.fullmatch(r"(##?|%%?)([^$]*)", rest)
        pattern = self.pattern(trim[2]) if trim else None
        if trim is None or pattern is None or pattern.count("*") > MOST_STARS or len(value) > 1000:
            return None
        matches = re.compile(fnmatch.translate(pattern)).match
        places = range(len(value) + 1)
        longest = len(trim[1]) == 2
        if trim[1][0] == "#":
            return value[(max if longest else min)((at for at in places if matches(value[:at])), default=0) :]
        starts = (at for at in places if matches(value[at:]))
        return value[: (min if longest else max)(starts, default=len(value))]
