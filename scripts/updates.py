"""Merges a newer release of the base that this product was made from: `make updates FROM=...`.

The branch `base` has each release as it was rendered with this product's answers, which
`.gatepost.json` keeps. The newer release is rendered in the same way and committed there, and the
branch is merged: git compares both sides with the release that the product has now.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

MANIFEST = ".gatepost.json"
BRANCH = "base"
VERSIONS = "infrastructure/database/migrations/versions"
SNAPSHOT = "tests/openapi.json"
_LOCK = "requirements/dev.txt"


class Refused(Exception):
    """One line that says why."""


def git(tree: Path, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 # our own commands
        ["git", *arguments],  # noqa: S607 # wherever it is installed
        cwd=tree,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout.strip()


def succeeds(tree: Path, *arguments: str) -> bool:
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=tree, check=False, capture_output=True)  # noqa: S603 # ours
    return done.returncode == 0


def updates(tree: Path, source: str) -> list[str]:
    """Merge the newer release in `source`: a directory or an address that git can clone, or a tag
    that this repository has.

    Returns the files with conflicts. Without one, the merge is committed. Raises `Refused`, and
    changes nothing, if there is nothing to merge or it cannot be merged now.
    """
    if not (tree / MANIFEST).exists():
        raise Refused("there is no .gatepost.json: `make mine` has not been run here")
    if git(tree, "status", "--porcelain"):
        raise Refused("there are uncommitted changes: commit them first")
    before = base_of(tree)
    with TemporaryDirectory() as folder:
        newer, rendered = Path(folder, "newer"), Path(folder, "rendered")
        fetch(tree, source, newer)
        git(tree, "worktree", "add", "--quiet", "--detach", str(rendered), before)
        try:
            answers = answers_for(rendered, newer)
            render(tree, newer, answers, rendered / VERSIONS)
            replace(rendered, newer)
            git(rendered, "add", "--all")
            name = f"Update the base to {answers['version']} ({str(answers['commit'])[:12]})"
            git(rendered, "commit", "--quiet", "--no-verify", f"--message={name}")
            after = git(rendered, "rev-parse", "HEAD")
        finally:
            git(tree, "worktree", "remove", "--force", str(rendered))
    git(tree, "branch", "--force", BRANCH, after)
    return merge(tree, before, after, name)


def base_of(tree: Path) -> str:
    """The commit with the release that the product has: on the branch, as far as it is merged, or
    else, in a clone that does not have the branch, the last one that wrote the manifest.
    """
    for branch in (BRANCH, f"origin/{BRANCH}"):
        if succeeds(tree, "merge-base", "HEAD", branch):
            return git(tree, "merge-base", "HEAD", branch)
    return git(tree, "log", "--no-merges", "-1", "--format=%H", "--", MANIFEST)


def fetch(tree: Path, source: str, to: Path) -> None:
    if succeeds(tree, "rev-parse", "--verify", "--quiet", f"refs/tags/{source}"):
        git(tree, "clone", "--quiet", "--no-checkout", str(tree), str(to))
        git(to, "checkout", "--quiet", source)
    elif not source or not succeeds(tree, "clone", "--quiet", source, str(to)):
        raise Refused(f"FROM={source}: no tag, and nothing that git can clone")
    if not (to / "scripts/rendering.py").exists():
        raise Refused(
            f"FROM={source}: has no scripts/rendering.py, so it is no release of the base"
        )


def answers_for(rendered: Path, newer: Path) -> dict[str, object]:
    """The product's answers, with the version and the commit of the newer release."""
    answers: dict[str, object] = json.loads((rendered / MANIFEST).read_text())
    commit = git(newer, "rev-parse", "HEAD")
    if commit == answers["commit"]:
        raise Refused(f"the product has this release already: {commit[:12]}")
    (found,) = re.findall(
        r'^version = "(.+)"$', (newer / "pyproject.toml").read_text(), re.MULTILINE
    )
    return answers | {"version": found, "commit": commit}


def version_of(tree: Path) -> str:
    project = tomllib.loads((tree / "pyproject.toml").read_text())["project"]
    return str(project["version"])


def render(tree: Path, newer: Path, answers: dict[str, object], versions: Path) -> None:
    """Run the newer release's own rendering, with its own packages if they are others."""
    python = sys.executable
    if (tree / _LOCK).read_bytes() != (newer / _LOCK).read_bytes():
        subprocess.run(["make", "--silent", ".venv/.dev"], cwd=newer, check=True)  # noqa: S607
        python = str(newer / ".venv/bin/python")
    subprocess.run(  # noqa: S603 # our own program
        [python, "-m", "scripts.rendering", json.dumps(answers), str(versions)],
        cwd=newer,
        env={**os.environ, "PYTHONPATH": str(newer)},
        check=True,
    )


def replace(tree: Path, by: Path) -> None:
    """Make the tree what `by` is, without what git ignores there."""
    git(tree, "rm", "-r", "--quiet", ".")
    git(by, "add", "--all")
    for path in git(by, "ls-files").splitlines():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(by / path, tree / path)


def merge(tree: Path, before: str, after: str, message: str) -> list[str]:
    """Merge `after`, renumber its revisions behind the product's own and renew the snapshot of the
    OpenAPI document. Returns the files with conflicts.
    """
    own = sorted(Path(path).name for path in git(tree, "ls-files", VERSIONS).splitlines())
    succeeds(tree, "merge", "--no-commit", "--no-ff", after)
    added = git(tree, "diff", "--name-only", "--diff-filter=A", before, after, "--", VERSIONS)
    renumber(tree, own, [Path(path).name for path in added.splitlines()])
    conflicts = git(tree, "diff", "--name-only", "--diff-filter=U").splitlines()
    if set(conflicts) <= {SNAPSHOT}:
        subprocess.run(  # noqa: S603 # our own program
            [
                sys.executable,
                "-c",
                f"import start, sys; sys.stdout = open({SNAPSHOT!r}, 'w');"
                " sys.argv[1:] = ['openapi']; start.main()",
            ],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree)},
            check=True,
        )
        git(tree, "add", "--all")
        git(tree, "commit", "--quiet", "--no-verify", f"--message={message}")
        return []
    return conflicts


def renumber(tree: Path, own: list[str], added: list[str]) -> None:
    """Number the revisions `added` behind the product's `own`, in their order."""
    last = own[-1][:4]
    for name in sorted(added):
        number = f"{int(last) + 1:04}"
        new = f"{VERSIONS}/{number}{name[4:]}"
        if name[:4] != number:
            git(tree, "mv", "--force", f"{VERSIONS}/{name}", new)
        (tree / new).write_text(numbered((tree / new).read_text(), number, last))
        git(tree, "add", new)
        last = number


def numbered(revision: str, number: str, after: str) -> str:
    """The text of the revision with another number."""
    text = re.sub(r"(?m)^revision = .+$", f'revision = "{number}"', revision)
    return re.sub(r"(?m)^down_revision = .+$", f'down_revision = "{after}"', text)


def main() -> None:
    try:
        conflicts = updates(Path.cwd(), sys.argv[1])
    except Refused as refusal:
        sys.exit(f"make updates: {refusal}")
    if conflicts:
        files = "".join(f"\n  {path}" for path in conflicts)
        sys.exit(f"Resolve the conflicts, `make openapi`, `make check` and `git commit`:{files}")
    print("Merged. `make check` tests it, `git reset --hard HEAD~1` undoes it.")


if __name__ == "__main__":
    main()
