"""YAML as a tree that knows its lines: scalars stay exactly as they were written, and every complaint is collected.

Values are read from the composed tree and never converted by YAML's rules, so that ``ON: yes`` is no boolean and
``VERSION: 1.10`` stays ``1.10``. Anchors, aliases, merges, tags and doubled keys are problems.
"""

from __future__ import annotations

import difflib
import posixpath
import re
from collections.abc import Collection

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, DocumentStartEvent, MappingStartEvent, ScalarEvent, SequenceStartEvent
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from pipeline.errors import Invalid

MAX_DEPTH = 20
MAX_NODES = 20_000
MAX_PROBLEMS = 50
_INTEGER = re.compile(r"0|[1-9][0-9]{0,8}")
_BOOLEANS = {"true": True, "false": False}
_AMBIGUOUS = re.compile(r"(?i:y|n|yes|no|on|off|true|false|null|~)?")
NAME_RULE = "a name has 1 to 40 of a-z, 0-9 and -, a letter first, no hyphen last"
_HALF = re.compile(r"[\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class Problems:
    """What is wrong with one file."""

    def __init__(self, filename: str) -> None:
        self._filename = filename
        self._found: dict[str, int] = {}

    def add(self, line: int, where: str, what: str) -> None:
        place = f"{where}: " if where else ""
        self._found[f"{self._filename}:{line}: {place}{what}"] = line

    def __bool__(self) -> bool:
        return bool(self._found)

    def raise_if_any(self) -> None:
        """Raises Invalid with one line per problem, in the file's order."""
        if self._found:
            lines = sorted(self._found, key=lambda text: self._found[text])
            more = [f"… and {len(lines) - MAX_PROBLEMS} more"] if len(lines) > MAX_PROBLEMS else []
            raise Invalid("\n".join(lines[:MAX_PROBLEMS] + more), reason="bad_servicefile")


class Node:
    """One value of the file, with its place. The readers note a problem and return something harmless."""

    def __init__(self, node: object, path: tuple[str, ...], problems: Problems, line: int) -> None:
        self._node = node
        self._path = path
        self._problems = problems
        self._line = line

    @property
    def name(self) -> str:
        return self._path[-1]

    def is_mapping(self) -> bool:
        return isinstance(self._node, MappingNode)

    def problem(self, what: str) -> None:
        self._problems.add(self._line, ".".join(self._path).replace(".[", "["), what)

    def fields(self, known: Collection[str]) -> dict[str, Node]:
        """The entries of a mapping whose keys are fixed."""
        found = self._children()
        for name in [name for name in found if name not in known]:
            near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.7)
            hint = f'; did you mean "{near[0]}"?' if near else f"; known are {', '.join(sorted(known))}"
            found.pop(name).problem(f"unknown key{hint}")
        return found

    def entries(self, pattern: re.Pattern[str], *, most: int, rule: str = NAME_RULE) -> list[Node]:
        """The entries of a mapping whose keys are names; ``rule`` says ``pattern`` in words."""
        found = self._children()
        if len(found) > most:
            self.problem(f"at most {most} entries are allowed")
        for name, node in found.items():
            if not pattern.fullmatch(name):
                node.problem(rule)
        return list(found.values())

    def text(self, pattern: re.Pattern[str] | None = None) -> str:
        """A string; numbers and truth values must be quoted to be one."""
        if not isinstance(self._node, ScalarNode):
            return self._wrong("a string")
        value = str(self._node.value)
        if _CONTROL.search(value) or not value:
            return self._wrong("a string that is not empty and has no control characters")
        if self._plain() and (_AMBIGUOUS.fullmatch(value) or _INTEGER.fullmatch(value)):
            return self._wrong(f'a string; write "{value}" in quotes')
        if pattern is not None and not pattern.fullmatch(value):
            return self._wrong(f"of the form {pattern.pattern}")
        return value

    def scalar(self, pattern: re.Pattern[str], what: str) -> str:
        """A number or string as written, of one form."""
        value = str(self._node.value) if isinstance(self._node, ScalarNode) else ""
        return value if pattern.fullmatch(value) else self._wrong(what)

    def integer(self, least: int, most: int) -> int:
        value = str(self._node.value) if isinstance(self._node, ScalarNode) and self._plain() else ""
        if not _INTEGER.fullmatch(value) or not least <= int(value) <= most:
            self._wrong(f"a whole number from {least} to {most}")
            return least
        return int(value)

    def boolean(self) -> bool:
        value = str(self._node.value) if isinstance(self._node, ScalarNode) and self._plain() else ""
        if value not in _BOOLEANS:
            self._wrong("true or false")
        return _BOOLEANS.get(value, False)

    def words(self, pattern: re.Pattern[str] | None = None) -> tuple[str, ...]:
        """A list of strings; with ``pattern``, of different names."""
        if not isinstance(self._node, SequenceNode):
            self._wrong("a list of strings")
            return ()
        items = [self._child(item, f"[{index}]", item) for index, item in enumerate(self._node.value)]
        values = tuple(item.text(pattern) if pattern else item._verbatim() for item in items)
        if pattern is not None and len(set(values)) < len(values):
            self.problem("a name is there twice")
        return values

    def strings(self, keys: re.Pattern[str]) -> dict[str, str]:
        """A mapping of names to strings or numbers; a word that YAML takes for a truth value or null needs quotes."""
        found = self._children()
        for name, node in found.items():
            if not keys.fullmatch(name):
                node.problem(f"not a name of the form {keys.pattern}")
        return {name: node._verbatim() for name, node in found.items()}

    def inner_path(self) -> str:
        """A relative path that stays inside, in its shortest form."""
        path = self.text()
        parts = path.split("/")
        if path.startswith("/") or ".." in parts or "\\" in path or ".git" in (part.lower() for part in parts):
            self.problem("must be a path inside the repository: relative, without .. and without .git")
            return "."
        return posixpath.normpath(path) if path else "."

    def _verbatim(self) -> str:
        if not isinstance(self._node, ScalarNode):
            return self._wrong("a string or a number")
        value = str(self._node.value)
        if self._plain() and _AMBIGUOUS.fullmatch(value):
            return self._wrong(f'ambiguous; write "{value}" in quotes')
        return self._wrong("a string without NUL") if "\x00" in value else value

    def _node_text(self) -> str:
        return str(self._node.value) if isinstance(self._node, ScalarNode) else ""

    def _plain(self) -> bool:
        return isinstance(self._node, ScalarNode) and self._node.style not in ("'", '"', "|", ">")

    def _wrong(self, wanted: str) -> str:
        self.problem(wanted if wanted.startswith("ambiguous") else f"must be {wanted}")
        return ""

    def _children(self) -> dict[str, Node]:
        if not isinstance(self._node, MappingNode):
            if not (self._plain() and self._node_text() in ("", "~", "null")):  # "web:" alone is all defaults
                self._wrong("a mapping")
            return {}
        found: dict[str, Node] = {}
        for key, value in self._node.value:
            name = str(key.value) if isinstance(key, ScalarNode) else ""
            child = self._child(value, name or "?", key)
            if not isinstance(key, ScalarNode):
                child.problem("a key must be a string")
            elif name in found:
                child.problem("this key is there twice")
            else:
                found[name] = child
        return found

    def _child(self, node: object, name: str, marked: object) -> Node:
        line = marked.start_mark.line + 1 if isinstance(marked, (ScalarNode, MappingNode, SequenceNode)) else self._line
        return Node(node, (*self._path, name), self._problems, line)


def read(text: str, problems: Problems, *, limit: int) -> Node | None:
    """The file's root; None after noting why there is none. Nothing is composed before the events were looked at."""
    if len(text.encode("utf-8", "surrogatepass")) > limit:
        problems.add(1, "", f"larger than {limit >> 10} KiB")
        return None
    try:
        _check_events(text, problems)
        node = None if problems else YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problems.add(mark.line + 1 if mark else 1, "", f"not YAML: {error.problem or error.context}")
        return None
    except (YAMLError, ValueError, RecursionError) as error:
        problems.add(1, "", f"not YAML: {str(error).splitlines()[0]}")
        return None
    if node is None and not problems:
        problems.add(1, "", "the file is empty")
    return Node(node, (), problems, 1) if node is not None else None


def _check_events(text: str, problems: Problems) -> None:
    depth = documents = nodes = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        line = event.start_mark.line + 1
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
            problems.add(line, "", "anchors and aliases are not allowed")
        if isinstance(event, (ScalarEvent, MappingStartEvent, SequenceStartEvent)):
            nodes += 1
            if event.tag not in (None, "!"):
                problems.add(line, "", "tags are not allowed")
        if isinstance(event, ScalarEvent) and _HALF.search(event.value):
            problems.add(line, "", "half of a surrogate pair (\\ud800 to \\udfff) is no character")
        depth += isinstance(event, (MappingStartEvent, SequenceStartEvent))
        depth -= type(event).__name__ in ("MappingEndEvent", "SequenceEndEvent")
        documents += isinstance(event, DocumentStartEvent)
        if depth > MAX_DEPTH or nodes > MAX_NODES or documents > 1:
            problems.add(line, "", "nested too deeply, too large, or more than one document")
            return
