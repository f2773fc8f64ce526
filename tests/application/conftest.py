import pytest

from application.services import Services, build_services
from tests.fakes.ports import FakePorts, fake_ports


@pytest.fixture
def ports() -> FakePorts:
    return fake_ports()


@pytest.fixture
def services(ports: FakePorts) -> Services:
    """The application, standing on the fakes in `ports`."""
    return build_services(ports)
