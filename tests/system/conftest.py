"""The real parts that a session's system tests share."""

from tests.support.dockerd import dockerd

__all__ = ["dockerd"]
