"""File systems for a test's time: any that mount(8) makes, and one whose server is dead."""

import ctypes
import os
import struct
import subprocess
from contextlib import contextmanager
from pathlib import Path

from tests.support.need import need


@contextmanager
def mount(*arguments):
    """Mount something for the length of a with block; the last of *arguments* is where."""
    need(os.geteuid() == 0, "root, to mount")
    subprocess.run(["mount", *arguments], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", arguments[-1]], check=True)


@contextmanager
def dead_server(where):
    """Mount at *where* what answers nothing once it is mounted, as a dead NFS server."""
    need(os.geteuid() == 0, "root, to mount")
    need(Path("/dev/fuse").exists(), "/dev/fuse")
    server = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={server},rootmode=40000,user_id=0,group_id=0".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    need(libc.mount(b"dead", os.fsencode(where), b"fuse", 0, options) == 0, "FUSE")
    try:
        # linux/fuse.h: the INIT request is a header of 40 bytes and the kernel's version; so we take it all.
        unique = struct.unpack_from("=Q", os.read(server, 1 << 17), 8)[0]
        init = struct.pack("=IIIIHHIII28x", 7, 23, 0, 0, 0, 0, 4096, 1, 0)[:64].ljust(64, b"\0")
        os.write(server, struct.pack("=IiQ", 16 + len(init), 0, unique) + init)
        yield
    finally:
        libc.umount2(os.fsencode(where), 2)  # MNT_DETACH
        os.close(server)
