"""The wheel, installed where no source is."""

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("api", "application", "demo", "domain", "infrastructure")
BUILD = "from setuptools.build_meta import build_wheel; print(build_wheel({!r}))"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """Built from a copy, because a build leaves files behind and takes in those of earlier ones."""
    source = tmp_path / "source"
    source.mkdir()
    for file in (
        *ROOT.glob("*.py"),
        *map(ROOT.joinpath, ("pyproject.toml", "README.md", "LICENSE")),
    ):
        shutil.copy(file, source)
    for package in PACKAGES:
        without = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, source / package, ignore=without)
    build = [sys.executable, "-c", BUILD.format(str(tmp_path))]
    done = subprocess.run(build, cwd=source, check=True, capture_output=True, text=True)
    return tmp_path / done.stdout.splitlines()[-1]


@contextmanager
def serving(wheel: Path, directory: Path) -> Iterator[str]:
    """The address of the service of the wheel, installed beside the dependencies of the tests."""
    environment = directory / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    uv = Path(sys.executable).with_name("uv")
    install = [str(uv), "pip", "install", "--offline", "--no-deps", "--python", str(python)]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    (packages,) = environment.glob("lib/*/site-packages")
    # As one entry of the path, the development install in there is not found.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    with subprocess.Popen(
        [environment / "bin" / "gatepost", "serve", "--port", "0"],
        cwd=directory,
        env={"PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


@pytest.mark.slow
def test_the_wheel_has_all_files_and_serves_pages_with_their_styles_and_script(
    wheel: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    files = {
        str(file.relative_to(source))
        for package in PACKAGES
        for file in (source / package).rglob("*")
        if file.is_file()
    }
    assert files - set(zipfile.ZipFile(wheel).namelist()) == set()
    shutil.rmtree(source)

    with serving(wheel, tmp_path) as url, httpx.Client(base_url=url, timeout=30) as client:
        page = client.get("/console/login")
        assert page.status_code == 200
        for name in ("console.css", "passkeys.js", "icon.svg"):
            path = f"/console/static/{name}"
            assert path in page.text
            assert client.get(path).status_code == 200
        assert client.get("/docs/swagger-ui.css").status_code == 200
