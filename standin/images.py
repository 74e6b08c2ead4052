"""Images of one layer with one small file, in the form that a registry hands them out: blobs by their digests."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def image_of(content: str, architecture: str = "amd64") -> tuple[str, dict[str, bytes]]:
    """Return the digest of an image's manifest and its blobs, that one too; ``/content`` says *content*."""
    blobs: dict[str, bytes] = {}

    def blob(data: bytes, kind: str) -> dict[str, Any]:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": kind, "digest": digest, "size": len(data)}

    layer = _layer(content.encode())
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": blob(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
        "layers": [blob(gzip.compress(layer, mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip")],
    }
    return blob(json.dumps(manifest).encode(), MANIFEST)["digest"], blobs


def _layer(content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        member = tarfile.TarInfo("content")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()
