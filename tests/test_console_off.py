"""Without the console nothing of it is loaded."""

import subprocess
import sys


def test_with_the_console_off_there_are_no_pages_and_no_template_engine() -> None:
    program = """
import sys
from api.app import create_app
from infrastructure.settings import Settings
from main import build_mailer
from tests.fakes.ports import fake_ports
app = create_app(fake_ports(), cursor_keys=[b"k" * 32], console=False)
build_mailer(Settings(smtp_url="smtp://localhost", console="off"))
assert not [route.path for route in app.routes if "console" in getattr(route, "path", "")]
print("jinja2" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )

    assert done.stdout == "False\n"
