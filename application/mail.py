"""Mail: one-time codes and notices, queued within a transaction, written and sent later.

What waits in the outbox is the wish for a code. The code itself is made when its mail is written,
so no storage ever has it, and asking for one is the same work whether there is such a user or not.
"""

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from html import escape
from typing import NoReturn

from application.notices import write_notice
from application.ports.adapter import Reading
from application.ports.clock import Clock
from application.ports.mail import Mail, Mailer, MailNotSent, MailRefused
from application.ports.queries import Queries
from application.ports.storage import (
    OutboxMessage,
    OutboxMessageId,
    OutboxStatus,
    Storage,
    UnitOfWork,
)
from application.request_info import REQUEST_INFO
from domain.addresses import host_of
from domain.errors import Unavailable
from domain.events import Event
from domain.notices import NOTICE_LIFETIME, Notice
from domain.one_time_codes import LIFETIMES, Purpose, new_code, recipient

CLAIM = timedelta(seconds=30)
"""How long a claimed message is reserved for its sender: twice the time limit of sending."""

_PAUSE = 2.0
"""Seconds between two looks into the outbox when nobody says that there is something in it."""

log = logging.getLogger("gatepost.mail")


def pause_after(attempts: int) -> timedelta:
    """How long to wait after so many attempts: 2 seconds, 4, 8 ... an hour."""
    return timedelta(seconds=min(2 ** min(attempts, 12), 3600))


SENDING_MAX = 8
"""Letters that one process sends at the same time."""

SENDING_TO_HOST_MAX = 2
"""Concurrent deliveries to one host, so that a slow host does not delay the others."""

_STATUS_PAUSE = timedelta(seconds=15)
"""Between two looks at how much waits."""


class MailService:
    """`public_url`: the site whose pages take codes, for links to it; None: the mails have none.
    `notices`: whether notices are sent, or dropped.
    """

    def __init__(
        self,
        *,
        queries: Queries,
        storage: Storage,
        mailer: Mailer,
        clock: Clock,
        public_url: str | None,
        notices: bool,
    ) -> None:
        self._queries = queries
        self._storage = storage
        self._mailer = mailer
        self._clock = clock
        self._public_url = public_url
        self._notices = notices
        self._awake = asyncio.Event()
        self._sending: dict[asyncio.Task[None], str] = {}
        self._given_up = 0
        self._status = OutboxStatus(0, None)

    def wake(self) -> None:
        """There is something in the outbox."""
        self._awake.set()

    def readings(self) -> Sequence[Reading]:
        """Metrics of the outbox, which all processes share."""
        return (
            Reading(
                "counter",
                "gatepost_mails_given_up",
                "Mails that were refused permanently, or waited too long.",
                lambda: self._given_up,
            ),
            Reading(
                "shared gauge",
                "gatepost_mails_waiting",
                "Mails in the outbox.",
                lambda: self._status.waiting,
            ),
            Reading(
                "shared gauge",
                "gatepost_mails_oldest_seconds",
                "How long the oldest mail in the outbox has waited.",
                self._oldest_age,
            ),
        )

    def _oldest_age(self) -> int:
        oldest = self._status.oldest
        return int((self._clock() - oldest).total_seconds()) if oldest else 0

    async def deliver_forever(self) -> NoReturn:
        """Send what is in the outbox, soon after it gets there, until cancelled.

        Any number of processes may do so at the same time.
        """
        status_due = self._clock()
        try:
            while True:
                self._awake.clear()
                try:
                    while len(self._sending) < SENDING_MAX and await self._send_next():
                        pass
                    if self._clock() >= status_due:
                        status_due = self._clock() + _STATUS_PAUSE
                        await self.read_status()
                except Unavailable:
                    pass  # the database logs its own outage; the messages wait
                except Exception:
                    log.exception("delivery of mail failed")
                with suppress(TimeoutError):
                    async with asyncio.timeout(_PAUSE):
                        await self._awake.wait()
        finally:
            for task in self._sending:
                task.cancel()

    async def _send_next(self) -> bool:
        """Start sending the message that has been due longest. Returns whether there was one."""
        counts = Counter(self._sending.values())
        busy = [host for host, count in counts.items() if count >= SENDING_TO_HOST_MAX]
        message = await self._claim(self._clock(), busy)
        if message is None:
            return False
        task = asyncio.create_task(self._deliver(message))
        self._sending[task] = host_of(message.email)
        task.add_done_callback(self._sent)
        return True

    def _sent(self, task: asyncio.Task[None]) -> None:
        del self._sending[task]
        self.wake()
        error = None if task.cancelled() else task.exception()
        # The database logs its own outage. The claim expires, and the message is due again.
        if error is not None and not isinstance(error, Unavailable):
            log.error("delivery of mail failed", exc_info=error)

    async def read_status(self) -> None:
        """See how much waits, for `readings`."""
        self._status = await self._storage.run(lambda uow: uow.outbox.status())

    async def deliver_next(self) -> bool:
        """Send the message that has been due longest. Returns whether there was one."""
        message = await self._claim(self._clock())
        if message is not None:
            await self._deliver(message)
        return message is not None

    async def _deliver(self, message: OutboxMessage) -> None:
        """Send a claimed message.

        At least once: a message leaves the outbox after it was sent, and one whose sender died is
        due again when the claim on it runs out. One that could not be sent is tried again until it
        has waited for as long as its code would live.
        """
        now = self._clock()
        try:
            if now - message.added_at >= _lifetime(message.purpose):
                raise MailRefused("it waited for longer than anybody needs it")
            if mail := await self._written(message, now):
                await self._mailer.send(mail)
        except Unavailable:
            raise
        except MailRefused as error:
            self._given_up += 1
            await self._settle(message.id, None)
            log.warning("message %s was given up: %s", message.id, error)
        except Exception as error:
            again_at = self._clock() + pause_after(message.attempts)
            await self._settle(message.id, again_at)
            log.warning(
                "message %s was not sent: %s; next attempt: %s",
                message.id,
                error,
                again_at,
                exc_info=not isinstance(error, MailNotSent),
            )
        else:
            await self._settle(message.id, None)

    async def _claim(self, now: datetime, busy: Collection[str] = ()) -> OutboxMessage | None:
        async def work(uow: UnitOfWork) -> OutboxMessage | None:
            message = await uow.outbox.claim(now, until=now + CLAIM, busy=busy)
            await uow.commit()
            return message

        return await self._storage.run(work)

    async def _settle(self, message_id: OutboxMessageId, again_at: datetime | None) -> None:
        async def work(uow: UnitOfWork) -> None:
            if again_at is None:
                await uow.outbox.remove(message_id)
            else:
                await uow.outbox.postpone(message_id, until=again_at)
            await uow.commit()

        await self._storage.run(work)

    async def _written(self, message: OutboxMessage, now: datetime) -> Mail | None:
        """The mail; None when there is nobody to have one."""
        if isinstance(message.purpose, Notice):
            return self._notice(message, message.purpose)
        return await self._with_code(message, message.purpose, now)

    def _notice(self, message: OutboxMessage, notice: Notice) -> Mail | None:
        if not self._notices:
            return None
        return write_notice(
            notice,
            message.email,
            at=message.added_at,
            ip=message.origin.ip,
            public_url=self._public_url,
        )

    async def _with_code(
        self, message: OutboxMessage, purpose: Purpose, now: datetime
    ) -> Mail | None:
        user_id = message.user_id
        if user_id is None:
            credentials = await self._queries.credentials(message.email)
            if credentials is None:
                return None
            user_id = credentials.user.id
        owner_id, token = user_id, secrets.token_urlsafe(32)

        async def work(uow: UnitOfWork) -> Mail | None:
            found = await uow.users.get(owner_id)
            if found is None:
                return None
            user = found.user
            to = recipient(purpose, message.email, user)
            if to is None:
                return None
            # The time to undo a change runs from the change, however late the mail is.
            undoes = purpose is Purpose.EMAIL_CHANGE_UNDO
            since = message.added_at if undoes else now
            code = new_code(user, purpose, to, token, since)
            await uow.codes.add(code)
            if message.attempts == 1:
                uow.record(
                    Event.of(
                        f"{purpose.value}_requested",
                        f"user:{user.id}",
                        actor_id=None,
                        at=now,
                    )
                )
            origin = REQUEST_INFO.set(message.origin)
            try:
                await uow.commit()
            finally:
                REQUEST_INFO.reset(origin)
            return write(purpose, to, token, code.expires_at, self._public_url)

        return await self._storage.run(work)


def _lifetime(purpose: Purpose | Notice) -> timedelta:
    return NOTICE_LIFETIME if isinstance(purpose, Notice) else LIFETIMES[purpose]


_SUBJECTS = {
    Purpose.VERIFICATION: "Confirm your e-mail address",
    Purpose.PASSWORD_RESET: "Choose a new password",
    Purpose.EMAIL_CHANGE_UNDO: "Your account gets another e-mail address",
}
_REASONS = {
    Purpose.VERIFICATION: "Somebody, most likely you, asked to confirm this e-mail address.",
    Purpose.PASSWORD_RESET: (
        "Somebody, most likely you, asked for a new password for the account with this e-mail"
        " address."
    ),
    Purpose.EMAIL_CHANGE_UNDO: (
        "Somebody, most likely you, gave the account with this e-mail address another one. Whoever"
        " did so knew the password. If it was not you, use this token: it brings this address back"
        " and ends all sessions. Then choose a new password."
    ),
}
_HARMLESS = "If it was not you, there is nothing to do: without the token nothing changes."
_COMFORTS = {
    Purpose.VERIFICATION: _HARMLESS,
    Purpose.PASSWORD_RESET: _HARMLESS,
    Purpose.EMAIL_CHANGE_UNDO: "If it was you, there is nothing to do.",
}
_PAGES = {
    Purpose.VERIFICATION: "verification",
    Purpose.PASSWORD_RESET: "password-reset",
    Purpose.EMAIL_CHANGE_UNDO: "email-change-undo",
}


def write(
    purpose: Purpose, to: str, token: str, expires_at: datetime, public_url: str | None
) -> Mail:
    """The mail that carries `token`, which stands alone on a line of its text."""
    reason = _REASONS[purpose]
    # Behind the #, so that it gets into no server's log.
    link = f"{public_url.rstrip('/')}/{_PAGES[purpose]}#{token}" if public_url else ""
    terms = f"It works once, until {expires_at:%Y-%m-%d %H:%M} UTC."
    comfort = _COMFORTS[purpose]
    paragraphs = [reason, "This is the token for it:", token, terms]
    html = [escape(reason), "This is the token for it:", f"<code>{escape(token)}</code>", terms]
    if link:
        paragraphs.append(f"Or go to\n{link}")
        html.append(f'Or <a href="{escape(link)}">go on from here</a>.')
    body = "\n".join(f"<p>{paragraph}</p>" for paragraph in [*html, comfort])
    return Mail(
        to=to,
        subject=_SUBJECTS[purpose],
        text="\n\n".join([*paragraphs, comfort]) + "\n",
        html=f'<!doctype html>\n<html lang="en">\n<body>\n{body}\n</body>\n</html>\n',
    )
