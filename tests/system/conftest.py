"""The real parts that a session's system tests share."""

from tests.support.dockerd import dockerd
from tests.support.machine import machines, machines_of_module

__all__ = ["dockerd", "machines", "machines_of_module"]
