import pytest

from tests.support.notify import NotifySocket


@pytest.fixture
def notify_socket(tmp_path):
    one = NotifySocket(tmp_path / "notify")
    yield one
    one.close()
