"""docs/reports.md: its report runs as the page says."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

from infrastructure.database.driver.engine import open_database
from tests.contracts.backends import SqlBackend

ROOT = Path(__file__).parents[1]
_PROGRAM = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


async def add_posts(url: str, numbers: list[int]) -> list[str | None]:
    """The names of new users, each with that many posts."""
    database = open_database(url)
    await database.open()
    backend = SqlBackend(database)
    users = [await backend.add_user() for _ in numbers]
    for user, number in zip(users, numbers, strict=True):
        for _ in range(number):
            await backend.add_post(user)
    await database.close()
    return [user.name for user in users]


def test_the_report_counts_the_posts_of_each_user(postgres_url: str, tmp_path: Path) -> None:
    one, three = asyncio.run(add_posts(postgres_url, [1, 3]))
    (program,) = _PROGRAM.findall((ROOT / "docs/reports.md").read_text())
    (tmp_path / "reports.py").write_text(program)

    done = subprocess.run(
        [sys.executable, "reports.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "GATEPOST_DATABASE_URL": postgres_url},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.stderr == ""
    assert done.stdout == f"{3:>8,}  {three or '-'}\n{1:>8,}  {one or '-'}\n"
