"""The guides as a reader takes them: in order, a file to put somewhere, then commands to type."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DIRECTORY = ROOT / "docs/guides"
EXAMPLES = ROOT / "examples"

# Of another host, the one that images are built on: tests/packer types it.
OTHERS = frozenset({"packer.md"})

_FENCE = re.compile(r"^```(\w*)$")
_EXAMPLE = re.compile(r"`([^`]+)` \(\[example\]\(\.\./\.\./examples/([^)]+)\)\)")
_COMMAND = re.compile(r"^([$#]) (.*)$")


@dataclass(frozen=True, slots=True)
class Command:
    """One command with its prompt: ``#`` is root's, ``$`` anybody's. *says* are lines that its output must have."""

    prompt: str
    line: str
    says: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. *caption* is the paragraph before it, as one line; *number* is its line in the guide, from 1."""

    language: str
    text: str
    caption: str
    number: int

    @property
    def example(self):
        """The file in examples/ that the caption names, None if it names none."""
        found = _EXAMPLE.search(self.caption)
        return EXAMPLES / found[2] if found else None

    @property
    def place(self):
        """Where the reader is told to put it on the host, None if nowhere."""
        found = _EXAMPLE.search(self.caption)
        return found[1] if found and found[1].startswith("/") else None

    @property
    def commands(self):
        """What to type, in order."""
        found = []
        lines = iter(self.text.splitlines())
        for line in lines:
            if not (match := _COMMAND.match(line)):
                if not found:
                    raise ValueError(f"line {self.number}: output before any command: {line}")
                last = found[-1]
                found[-1] = Command(last.prompt, last.line, (*last.says, line))
                continue
            prompt, typed = match.groups()
            while typed.endswith("\\"):
                typed += "\n" + next(lines)
            found.append(Command(prompt, typed))
        return tuple(found)


def guides():
    """Return the guides by name."""
    return {path.name: path.read_text() for path in sorted(DIRECTORY.glob("*.md")) if path.name not in OTHERS}


def blocks(text):
    """Return all fenced blocks of a guide."""
    found, caption, inside, ended = [], "", None, False
    for number, line in enumerate(text.splitlines(), 1):
        if inside is not None:
            if line == "```":
                language, start, lines = inside
                found.append(Block(language, "".join(f"{each}\n" for each in lines), caption, start))
                caption, inside = "", None
            else:
                inside[2].append(line)
        elif match := _FENCE.match(line):
            inside, ended = (match[1], number, []), False
        elif line.strip():
            caption, ended = f"{'' if ended else caption} {line.strip()}".strip(), False
        else:
            ended = True
    if inside is not None:
        raise ValueError(f"line {inside[1]}: the block has no end")
    return found


def commands(text):
    """Return every command of a guide."""
    return [command for block in blocks(text) if block.language == "console" for command in block.commands]


def says(expected, output):
    """Whether the lines *expected* stand in *output* in this order; ``...`` is anything, blanks do not count."""
    lines = iter(" ".join(line.split()) for line in output.splitlines())
    for wanted in expected:
        parts = [re.escape(part) for part in " ".join(wanted.split()).split("...")]
        pattern = re.compile(".*".join(parts))
        if wanted.strip() not in ("", "...") and not any(pattern.fullmatch(line) for line in lines):
            return False
    return True
