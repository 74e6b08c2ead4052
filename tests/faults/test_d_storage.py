"""D: what config.json lies on. What is hit is destination ``one``, or a user of this machine."""

import os
import shutil
import subprocess

import pytest

from tests.support.interposed import meeting
from tests.support.mounts import dead_server, mount
from tests.support.need import need
from tests.support.rows import row
from tests.support.shell import shell
from tests.support.story import FOREIGN, SOUND

pytestmark = pytest.mark.usefixtures("hits_one")


def on_tmpfs(story, *options):
    """Let destination ``one`` be on a file system of its own, with what stands there."""
    place = story.destinations["one"].parent
    story.opened.enter_context(mount("-t", "tmpfs", *options, "tmpfs", place))
    place.chmod(0o755)
    story.put(FOREIGN)
    return place


@row(
    "D14",
    provoked="the file system is read-only; later it is not",
    holds="refused as what it is, with a hint at ReadWritePaths=; logged in once it can be written",
)
def test_d14_a_read_only_file_system(story):
    place = on_tmpfs(story)
    shell(f"mount -o remount,ro {place}")
    story.start().fails("read_only", "EROFS", "ReadWritePaths=")
    shell(f"mount -o remount,rw {place}")
    story.mended()


@row(
    "D15",
    provoked="the file system is full (a real one); a write or a flush meets with EDQUOT (by strace)",
    holds="the old file is whole, nothing is left beside it, others are served; logged in once there is room",
)
@pytest.mark.parametrize("how", ["full", "write", "fsync"])
def test_d15_no_room(story, couriers, how):
    if how == "full":
        place = on_tmpfs(story, "-o", "size=64k")
        full = place / "full"
        with pytest.raises(OSError, match="No space"):
            full.write_bytes(b"x" * (1 << 20))
        story.start().fails("no_space", "ENOSPC", "df ")
        assert sorted(os.listdir(place)) == ["config.json", "full"]
        full.unlink()
    else:
        need(shutil.which("strace"), "strace")
        only_one(story, couriers, *meeting(how, "error=EDQUOT:when=1"))
        story.start().fails("quota", "EDQUOT", "quota of uid" if how == "write" else "quota")
        assert os.listdir(story.destinations["one"].parent) == ["config.json"]
        couriers.as_it_is()
    story.mended()


def only_one(story, couriers, *words):
    """Run the couriers behind *words*; the fault so hits every destination, but nothing else."""
    story.affects(destination="one")
    story.touches("two")
    couriers.behind(*words)


@row(
    "D16",
    provoked="EIO at the flush of the file, at the exchange, or at the flush of the directory",
    holds="never called a success; the file is the old one or the new one, and whole; tried again",
)
@pytest.mark.parametrize("call", ["fsync:error=EIO:when=1", "renameat2:error=EIO:when=1", "fsync:error=EIO:when=2"])
def test_d16_a_broken_disk(story, couriers, call):
    need(shutil.which("strace"), "strace")
    name, _, what = call.partition(":")
    only_one(story, couriers, *meeting(name, what))
    story.start().fails("io_error", "EIO", "dmesg")
    couriers.as_it_is()
    story.mended()


@row(
    "D17",
    provoked="the file or its directory is immutable or append-only (chattr)",
    holds="refused with the very chattr that mends it; nothing is left beside it",
)
@pytest.mark.parametrize(("what", "flag"), [("file", "i"), ("file", "a"), ("directory", "i")])
def test_d17_an_immutable_file(story, what, flag):
    path = story.destinations["one"] if what == "file" else story.destinations["one"].parent
    done = subprocess.run(["chattr", f"+{flag}", path], check=False, capture_output=True)
    need(done.returncode == 0, "a file system with chattr")
    try:
        story.start().fails("immutable", f"chattr -i -a {path}")
        assert os.listdir(story.destinations["one"].parent) == ["config.json"]
        assert story.destinations["one"].read_bytes() == FOREIGN
    finally:
        subprocess.run(["chattr", "-i", "-a", path], check=True)
    story.mended()


@row(
    "D18",
    provoked="the file has an ACL that lets another user read it",
    holds="the new one has it too, and nobody more may read it than before",
    instead="A SELinux label is carried over in the same way; there is none here.",
)
def test_d18_an_acl(story):
    path = story.destinations["one"]
    done = subprocess.run(["setfacl", "-m", "u:60123:r,g::-,o::-", path], check=False)
    need(done.returncode == 0, "setfacl")
    story.start().settle()
    said = subprocess.run(["getfacl", "-pn", path], capture_output=True, text=True, check=True).stdout
    assert "user:60123:r--" in said
    assert "group::---" in said
    assert "other::---" in said


@row(
    "D19",
    provoked="the file server that the home is on answers nothing any more (FUSE without a server)",
    holds="the courier is given up at its deadline, nobody else waits for it; logged in once it is mended",
)
def test_d19_a_dead_file_server(story):
    place = story.destinations["one"].parent
    story.out_of_reach.add("one")
    with dead_server(place):
        story.start()
        story.until(lambda: story.state(SOUND, "two") == "in_place", "the others")

        def given_up():
            return story.error(SOUND, "one")["code"] in ("deadline", "file_server")

        story.until(given_up, "the courier, given up", 60)
        story.hindered.add(story.label("one"))
        story.hold()
    story.out_of_reach.clear()
    story.mended()
