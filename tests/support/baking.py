"""Image builds: the real packer against a session's dockerd, from a Debian with nothing of ours in it."""

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.guides.reading import commands, says
from tests.support import image
from tests.support.image import REPO
from tests.support.need import need

PACKER = REPO / "packer"
GUIDE = REPO / "docs/guides/packer.md"
# What the guide has users name their base.
BASE = "my-debian:latest"
# What Packer 1.6.6 has no word for: the block or argument as a whole, at the indentation that `packer fmt` gives it.
UNKNOWN_TO_1_6_6 = (r"\n  metadata_options \{\n.*?\n  \}", r"\n  imds_support +=[^\n]*")
# Where a template says that users put their own provisioners.
_PLACE = "  # What else your runners need goes here"
_CERTIFICATES = "/etc/ssl/certs"
_NUMBER = re.compile(r"\d+(\.\d+)?")


def typed(beginning):
    """Return the one command of the guide that begins so, as it is to be typed, and what it is to say."""
    [command] = [each for each in commands(GUIDE.read_text()) if each.line.startswith(beginning)]
    return command


def wheelhouse(version=None):
    """Return a directory that the guide's command makes of this checkout; with *version*, as if it had that one."""
    recipe = [PACKER / "wheelhouse.py", PACKER / "sbom.py", REPO / "constraints.txt", REPO / "Makefile", GUIDE]

    def make(directory):
        with tempfile.TemporaryDirectory() as checkout:
            image.copy_checkout(checkout)
            shutil.copytree(PACKER, Path(checkout, "packer"))
            for name in ("Makefile", "constraints.txt", "pyproject.toml"):
                shutil.copy(REPO / name, checkout)
                os.utime(Path(checkout, name), (0, 0))  # the venv, which is this one, is up to date
            Path(checkout, ".venv").symlink_to(sys.prefix)
            command = typed("make wheelhouse")
            done = subprocess.run(
                command.line, shell=True, cwd=checkout, check=True, timeout=300, stdout=subprocess.PIPE, text=True
            )
            # The guide's numbers are those of its day.
            assert says([_NUMBER.sub("N", line) for line in command.says], _NUMBER.sub("N", done.stdout)), done.stdout
            shutil.move(Path(checkout, "dist/wheelhouse"), directory)

    def make_other(directory):
        shutil.copytree(wheelhouse(), directory, ignore=shutil.ignore_patterns("ecrlogind-*.whl", "bom.json", "SHA*"))
        ours = Path(shutil.copy(image.wheel(version), directory))
        requirements = directory / "requirements.txt"
        others = [line for line in requirements.read_text().splitlines(True) if not line.startswith("ecrlogind==")]
        digest = hashlib.sha256(ours.read_bytes()).hexdigest()
        requirements.write_text("".join([*others, f"ecrlogind=={version} --hash=sha256:{digest}\n"]))

    key = image._key(*recipe, *image._packaged())
    return image._cached(f"wheelhouse{version or ''}-{key}", make_other if version else make)


def bare(dockerd):
    """Return the image of a Debian with systemd, Python and a user ``runner``, but nothing of ours."""
    underneath = image.base(dockerd)
    key = underneath.rpartition(":")[2]

    def make(name):
        strip = "rm -rf /opt/ecrlogind && useradd --create-home runner"
        dockerd.docker("run", "--network", "none", "--name", f"strip-{key}", underneath, "sh", "-c", strip)
        dockerd.docker("commit", f"strip-{key}", name)
        dockerd.docker("rm", f"strip-{key}")

    return image._image(dockerd, f"bare:{key}", make)


def with_network():
    """Return the options of `docker run` that give a container this machine's network, and pip its certificates."""
    bundle = f"{_CERTIFICATES}/ca-certificates.crt"
    options = ["--network=host", f"--volume={_CERTIFICATES}:{_CERTIFICATES}:ro", f"--env=PIP_CERT={bundle}"]
    return [*options, *(f"--env={name}={value}" for name, value in os.environ.items() if name.startswith("PIP_INDEX"))]


def for_1_6_6(text):
    """Return a template as Packer 1.6.6 can read it."""
    for pattern in UNKNOWN_TO_1_6_6:
        text, found = re.subn(pattern, "", text, flags=re.DOTALL)
        assert found == 1, f"the template has no {pattern!r} any more"
    return text


def built(manifest):
    """Return the id of what was built last, from Packer's manifest."""
    return json.loads(manifest.read_text())["builds"][-1]["artifact_id"]


@dataclass(frozen=True, slots=True)
class Kitchen:
    """A copy of packer/ that Packer 1.6.6 reads, in *directory*. What it writes stays there."""

    directory: Path

    @classmethod
    def furnish(cls, directory):
        """Return a new one. Only `plugins.pkr.hcl` is left out, and what `for_1_6_6` takes."""
        need(shutil.which("packer"), "packer")
        shutil.copytree(PACKER, directory, ignore=shutil.ignore_patterns("plugins.pkr.hcl", "__pycache__"))
        template = directory / "runner-ami.pkr.hcl"
        template.write_text(for_1_6_6(template.read_text()))
        return cls(directory)

    def insert(self, shell, *, before_verify=False):
        """Let the build run a shell script at the place for users' own provisioners, or between scrub and verify."""
        script = self.directory / f"inserted-{before_verify}.sh"
        script.write_text(shell)
        template = self.directory / "runner-ami.pkr.hcl"
        text = template.read_text()
        block = f'  provisioner "shell" {{\n    script = "{script}"\n  }}\n\n'
        place = text.rindex('  provisioner "shell"') if before_verify else text.index(_PLACE)
        template.write_text(text[:place] + block + text[place:])

    def packer(self, *arguments, environment=(), check=True):
        """Run packer in it; return the CompletedProcess, all output as text in stdout."""
        return self.type(shlex.join(["packer", *map(str, arguments), "packer/"]), environment=environment, check=check)

    def type(self, line, *, environment=(), check=True):
        """Type a command line in the directory that packer/ is in."""
        own = {"PACKER_CONFIG_DIR": str(self.directory), "CHECKPOINT_DISABLE": "1", "PACKER_NO_COLOR": "1"}
        done = subprocess.run(
            line,
            shell=True,
            cwd=self.directory.parent,
            env={**os.environ, **own, **dict(environment)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{line}: exit {done.returncode}\n{done.stdout}")
        return done

    def bake(self, dockerd, base, *, check=True, options=("--network=none",), **variables):
        """Build the docker template from the image *base*; return the new image's id, and what packer said.

        With ``check=False`` the id is None if the build failed.
        """
        manifest = self.directory / "manifest.json"
        said = {"docker_options": json.dumps(options), "manifest": manifest, **variables}
        said = {"wheelhouse": wheelhouse(), "runner_users": '["root", "runner"]', **said}
        environment = {"DOCKER_HOST": dockerd.host, **{f"PKR_VAR_{name}": str(value) for name, value in said.items()}}
        dockerd.docker("tag", base, BASE)
        done = self.type(typed("packer build -only='docker.*'").line, environment=environment, check=check)
        if done.returncode:
            return None, done.stdout
        return built(manifest), done.stdout
