"""Products made from this tree by `make mine`, for tests."""

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
_BIN = Path(sys.executable).parent
AUTHOR = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Anna"), ("EMAIL", "anna@example.com"))
}


@dataclass(frozen=True)
class Product:
    tree: Path
    name: str

    def run(self, *command: str, status: int = 0) -> str:
        """What the command prints on both outputs. It runs in the product's environment."""
        done = subprocess.run(
            command,
            cwd=self.tree,
            env={**os.environ, **AUTHOR, "PATH": f"{self.tree}/.venv/bin:{os.environ['PATH']}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == status, f"{command}: {done.stdout}"
        return done.stdout

    def lint(self) -> None:
        self.run("ruff", "format", "--check", "--no-cache", ".")
        self.run("ruff", "check", "--no-cache", ".")

    def test(self, *tests: str) -> None:
        self.run("pytest", "-q", "-x", "-p", "no:cacheprovider", *tests)


def clone(tree: Path, *, of: Path = ROOT) -> Path:
    subprocess.run(["git", "clone", "--quiet", str(of), str(tree)], check=True)
    return tree


def product(tree: Path, name: str, without: str = "") -> Product:
    """A clone of this tree's last commit, after `make mine`."""
    clone(tree)
    environment(tree, "gatepost")
    it = Product(tree, name)
    make = ("make", "mine", f"NAME={name}", f"WITHOUT={without}", "DEV=")
    assert f"This is {name} now" in it.run(*make)
    environment(tree, name)
    return it


def environment(tree: Path, name: str) -> None:
    """An environment of the tree's own, in which the packages of this one are installed.

    Installing them again would take a minute and the network.
    """
    folder = tree / ".venv"
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "here.pth").write_text(f"{tree}\n{sysconfig.get_path('purelib')}\n")
    about = site / f"{name}-0.1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    for program in _BIN.iterdir():
        here = folder / "bin" / program.name
        if here.exists() or not program.is_file():
            continue
        if program.stat().st_size < 10_000:
            text = program.read_text()
            here.write_text(text.replace(f"{_BIN}/python", f"{folder}/bin/python", 1))
            here.chmod(0o755)
        else:
            here.symlink_to(program)
    command = folder / "bin" / name
    command.write_text(
        f"#!{folder}/bin/python\nfrom start import main\n\nif __name__ == '__main__':\n    main()\n"
    )
    command.chmod(0o755)
