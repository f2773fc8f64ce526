"""What the bench needs before it can start: a venv, wrk, the packages of the Node stand-ins.

Standard library only, because it runs before any of it is there.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
VENV = HERE / ".venv"
NODE = HERE / "contenders" / "node"
OLDEST_NODE = 20


def enter() -> None:
    """Start the running script over in `benchmarks/.venv`, built first when missing or stale."""
    if sys.platform != "linux":
        sys.exit("The bench pins processes to cores and reads /proc: it needs Linux.")
    requirements = HERE / "requirements.txt"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    stamp = VENV / "requirements.sha256"
    if not stamp.exists() or stamp.read_text() != wanted:
        print("Building benchmarks/.venv ...", file=sys.stderr)
        venv.create(VENV, clear=True, with_pip=True)
        _run(VENV / "bin/pip", "install", "-qq", "-r", requirements)
        stamp.write_text(wanted)
    if Path(sys.prefix) != VENV:
        python = str(VENV / "bin/python")
        os.execv(python, [python, *sys.argv])


def gatepost(checkout: Path = ROOT) -> Path:
    """The command `gatepost` that `make install` made in a checkout."""
    command = checkout / ".venv/bin/gatepost"
    if not command.exists():
        sys.exit(f"{command} is missing: run `make install` first.")
    return command


def wrk() -> str:
    """The load generator's path; as root it is installed from Debian when missing."""
    if not shutil.which("wrk") and shutil.which("apt-get") and os.geteuid() == 0:
        print("Installing wrk ...", file=sys.stderr)
        _run("apt-get", "update", "-qq")
        _run("apt-get", "install", "-qq", "-y", "wrk")
    return shutil.which("wrk") or sys.exit("wrk is missing: `apt-get install wrk` as root.")


def node() -> str | None:
    """Install the Node stand-ins' packages; why they can't run here, or `None` when they can."""
    if not (shutil.which("node") and shutil.which("npm")):
        return f"node and npm are missing ({OLDEST_NODE} or newer)"
    version = subprocess.check_output(["node", "--version"], text=True).strip()
    if int(version.lstrip("v").split(".")[0]) < OLDEST_NODE:
        return f"node {version} is older than {OLDEST_NODE}"
    if not (NODE / "node_modules/.package-lock.json").exists():
        print("Installing the Node stand-ins' packages ...", file=sys.stderr)
        _run("npm", "install", "--silent", cwd=NODE)
    return None


def _run(*command: str | Path, cwd: Path | None = None) -> None:
    try:
        subprocess.run(command, check=True, cwd=cwd, stdout=sys.stderr)
    except subprocess.CalledProcessError as error:
        sys.exit(f"`{' '.join(map(str, command))}` failed ({error.returncode}).")
