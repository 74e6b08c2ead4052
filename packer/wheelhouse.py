"""Make a wheelhouse: wheelhouse.py DIRECTORY [SOURCE].

All the wheels that an install of SOURCE (this checkout) takes, and

- `requirements.txt` with the hash of each, which pip checks;
- `bom.json`, what they are and under which licenses, in CycloneDX's form;
- `SHA256SUMS` of all of this, for `sha256sum --check`.

The wheels are pure Python, every one, so that one wheelhouse serves amd64 and arm64, and every Python from 3.11 on;
otherwise it is not made.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from sbom import bill

REPO = Path(__file__).parents[1]
PURE = "-none-any.whl"


def main(directory: Path, source: str) -> int:
    """Make *directory* anew; it is replaced once all is there. Return an exit status."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent) as work:
        made = Path(work, "wheelhouse")
        # Where packages come from is pip's own configuration.
        pip = [sys.executable, "-m", "pip", "--quiet", "--no-cache-dir", "--disable-pip-version-check"]
        wanted = ["--constraint", str(REPO / "constraints.txt"), f"{source}[metrics]"]
        if subprocess.run([*pip, "wheel", "--wheel-dir", str(made), *wanted], check=False).returncode:
            return 1
        wheels = sorted(made.glob("*.whl"))
        if bound := [wheel.name for wheel in wheels if not wheel.name.endswith(PURE)]:
            print(f"wheelhouse: for one machine only: {', '.join(bound)}", file=sys.stderr)
            print("  take dependencies that have wheels of pure Python, or build on each kind of host", file=sys.stderr)
            return 1
        (made / "requirements.txt").write_text("".join(map(_requirement, wheels)))
        (made / "bom.json").write_text(bill(wheels, "ecrlogind"))
        files = sorted(made.iterdir())
        (made / "SHA256SUMS").write_text("".join(f"{_hash(file)}  {file.name}\n" for file in files))
        made.chmod(0o755)
        shutil.rmtree(directory, ignore_errors=True)
        made.rename(directory)
    size = sum(wheel.stat().st_size for wheel in directory.glob("*.whl"))
    print(f"{directory}: {len(wheels)} wheels, {size / 1e6:.1f} MB")
    return 0


def _requirement(wheel: Path) -> str:
    """Return the line of a requirements file that takes exactly *wheel*."""
    name, version, *_ = wheel.name.split("-")
    return f"{name}=={version} --hash=sha256:{_hash(wheel)}\n"


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else str(REPO)))
