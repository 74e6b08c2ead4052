"""Draw docs/demo.svg: the terminal during a real run of `make demo`."""

import html
import re
import subprocess
import sys
from pathlib import Path

WIDTH, LINE, TOP, LEFT, SIZE = 8.0, 18, 52, 20, 13
COLOURS = {
    r"\b(healthy|in_place|taken)\b": "#7ee787",
    r"\b(refused)\b": "#ff7b72",
    r"^(    (REGISTRY .*))$": "#8b949e",
}
STATEMENT = "#e6edf3"


def main() -> None:
    """Run the demo and draw what it printed."""
    said = subprocess.run([sys.executable, "-m", "standin.demo"], capture_output=True, text=True, check=True).stdout
    # The name of a temporary directory says nothing, and would make every picture another.
    said = re.sub(r"/tmp/ecrlogind-demo-\w+", "/tmp/demo", said)
    said = said.partition("\nWhat it told its log")[0]
    lines = [
        re.sub(r"(/tmp/demo/\w+/config\.json) {8,}", r"\1  ", line) for line in f"$ make demo\n{said}".splitlines()
    ]
    lines = _realigned(lines)
    Path(__file__).with_name("demo.svg").write_text(_svg(lines))


def _realigned(lines: list[str]) -> list[str]:
    """Close the gaps that the long name left in the tables."""
    out: list[str] = []
    block: list[list[str]] = []
    for line in [*lines, ""]:
        cells = re.split(r" {2,}", line.strip())
        if len(cells) > 3:
            block.append(cells)
            continue
        widths = [max(len(row[i]) for row in block) for i in range(len(block[0]))] if block else []
        out += ["    " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=False)).rstrip() for row in block]
        block = []
        out.append(line)
    return out[:-1]


def _svg(lines: list[str]) -> str:
    width = int(LEFT * 2 + WIDTH * max(map(len, lines)))
    height = TOP + LINE * len(lines) + 8
    rows = "\n".join(
        f'<text x="{LEFT}" y="{TOP + LINE * number}" xml:space="preserve">{_coloured(line)}</text>'
        for number, line in enumerate(lines)
        if line.strip()
    )
    dots = "".join(
        f'<circle cx="{24 + 20 * n}" cy="20" r="6" fill="{c}"/>'
        for n, c in enumerate(["#ff5f56", "#ffbd2e", "#27c93f"])
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="A run of make demo in a terminal">\n'
        f'<rect width="{width}" height="{height}" rx="10" fill="#0d1117"/>\n{dots}\n'
        f'<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="{SIZE}" '
        f'fill="#9da7b3">\n{rows}\n</g>\n</svg>\n'
    )


def _coloured(line: str) -> str:
    text = html.escape(line, quote=False)
    if line.startswith("$"):
        return f'<tspan fill="{STATEMENT}" font-weight="bold">{text}</tspan>'
    if not line.startswith(" "):
        return f'<tspan fill="{STATEMENT}">{text}</tspan>'
    for pattern, colour in COLOURS.items():
        text = re.sub(pattern, lambda found, colour=colour: f'<tspan fill="{colour}">{found[1]}</tspan>', text)
    return text


if __name__ == "__main__":
    main()
