"""Draw what fleets do, from JSON on stdin, into the directory that is named. Run in a venv with matplotlib."""

import json
import sys
from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

INK = "#57606a"
HOURS_A_POINT = 10 / 60


def figure(title: str, across: str, up: str) -> Axes:
    """Return new axes with these words."""
    plt.rcParams.update(
        {"font.size": 9, "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK}
    )
    _, axes = plt.subplots(figsize=(8, 3), dpi=100)
    axes.set(title=title, xlabel=across, ylabel=up)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
    return axes


def save(axes: Axes, path: Path) -> None:
    """Write the picture, without a word of when and by what."""
    axes.legend(frameon=False)
    axes.figure.tight_layout()
    axes.figure.savefig(path, metadata={"Software": None})


def main() -> None:
    """Draw both pictures."""
    plt.switch_backend("Agg")
    docs, lines = Path(sys.argv[1]), json.load(sys.stdin)
    axes = figure("Everyone boots in the same minute; AWS takes 20 calls a second", "minutes", "logins a second")
    for name, values in lines["boot"].items():
        axes.step(range(len(values)), values, where="post", label=name)
    save(axes, docs / "fleet-boot.png")
    axes = figure("A week of 10,000 hosts that booted in the same minute", "days", "calls a second")
    for name, values in lines["week"].items():
        axes.plot([(1 + n * HOURS_A_POINT) / 24 for n in range(len(values))], values, label=name, linewidth=1)
    save(axes, docs / "fleet-week.png")


if __name__ == "__main__":
    main()
