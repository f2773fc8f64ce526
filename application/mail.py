"""Mail with one-time codes: asked for within a transaction, written and sent some time later.

What waits in the outbox is the wish for a code. The code itself is made when its mail is written,
so no storage ever has it, and asking for one is the same work whether there is such a user or not.
"""

import asyncio
import logging
import secrets
from contextlib import suppress
from datetime import datetime, timedelta
from html import escape
from typing import NoReturn

from application.ports.clock import Clock
from application.ports.mail import Mail, Mailer, MailNotSent, MailRefused
from application.ports.queries import Queries
from application.ports.storage import OutboxMessage, OutboxMessageId, Storage
from application.request_info import REQUEST_INFO
from application.retries import retried
from domain.addresses import email_key
from domain.errors import Unavailable
from domain.events import Event
from domain.one_time_codes import Purpose, may_be_mailed, new_code

CLAIM = timedelta(seconds=30)
"""For so long nobody else sends a letter that somebody is sending; twice what sending may take."""

ATTEMPTS_MAX = 48
"""About a day and a half of them."""

_PAUSE = 2.0
"""Seconds between two looks into the outbox when nobody says that there is something in it."""

log = logging.getLogger("gatepost.mail")


def pause_after(attempts: int) -> timedelta:
    """How long to wait after so many attempts: 2 seconds, 4, 8 ... an hour."""
    return timedelta(seconds=min(2 ** min(attempts, 12), 3600))


class MailService:
    """`public_url`: the site whose pages take codes, for links to it; None: the mails have none."""

    def __init__(
        self,
        *,
        queries: Queries,
        storage: Storage,
        mailer: Mailer,
        clock: Clock,
        public_url: str | None,
    ) -> None:
        self._queries = queries
        self._storage = storage
        self._mailer = mailer
        self._clock = clock
        self._public_url = public_url
        self._awake = asyncio.Event()

    def wake(self) -> None:
        """There is something in the outbox."""
        self._awake.set()

    async def deliver_forever(self) -> NoReturn:
        """Send what is in the outbox, soon after it gets there, until cancelled.

        Any number of processes may do so at the same time.
        """
        while True:
            self._awake.clear()
            try:
                while await self.deliver_next():
                    pass
            except Unavailable:
                pass  # it says so elsewhere; the letters wait
            except Exception:
                log.exception("delivery of mail failed")
            with suppress(TimeoutError):
                async with asyncio.timeout(_PAUSE):
                    await self._awake.wait()

    async def deliver_next(self) -> bool:
        """Send the letter that is due for longest; whether there was one.

        At least once: a letter leaves the outbox after it was sent, and one whose sender died is
        due again when the claim on it runs out.
        """
        now = self._clock()
        letter = await self._claim(now)
        if letter is None:
            return False
        again_at: datetime | None = None
        try:
            if mail := await self._written(letter, now):
                await self._mailer.send(mail)
        except MailRefused as error:
            log.warning("letter %s was refused: %s", letter.id, error)
        except Unavailable:
            raise
        except Exception as error:
            if letter.attempts < ATTEMPTS_MAX:
                again_at = self._clock() + pause_after(letter.attempts)
            log.warning(
                "letter %s was not sent: %s; next attempt: %s",
                letter.id,
                error,
                again_at,
                exc_info=not isinstance(error, MailNotSent),
            )
        await self._settle(letter.id, again_at)
        return True

    @retried
    async def _claim(self, now: datetime) -> OutboxMessage | None:
        async with self._storage() as uow:
            letter = await uow.outbox.claim(now, until=now + CLAIM)
            await uow.commit()
        return letter

    @retried
    async def _settle(self, letter_id: OutboxMessageId, again_at: datetime | None) -> None:
        async with self._storage() as uow:
            if again_at is None:
                await uow.outbox.remove(letter_id)
            else:
                await uow.outbox.postpone(letter_id, until=again_at)
            await uow.commit()

    @retried
    async def _written(self, letter: OutboxMessage, now: datetime) -> Mail | None:
        """The mail with a new code; None when there is nobody to have one."""
        known = await self._queries.credentials(letter.email)
        if known is None:
            return None
        token = secrets.token_urlsafe(32)
        async with self._storage() as uow:
            found = await uow.users.get(known.user.id)
            if found is None or email_key(found.user.email) != email_key(letter.email):
                return None  # moved away meanwhile
            user = found.user
            if not may_be_mailed(letter.purpose, user):
                return None
            code = new_code(user, letter.purpose, token, now)
            await uow.codes.add(code)
            if letter.attempts == 1:
                uow.record(
                    Event.of(
                        f"{letter.purpose.value}_requested",
                        f"user:{user.id}",
                        actor_id=None,
                        at=now,
                    )
                )
            origin = REQUEST_INFO.set(letter.origin)
            try:
                await uow.commit()
            finally:
                REQUEST_INFO.reset(origin)
        # To the address as it is stored, not as somebody spelt it when they asked.
        return write(letter.purpose, user.email, token, code.expires_at, self._public_url)


_SUBJECTS = {
    Purpose.VERIFICATION: "Confirm your e-mail address",
    Purpose.PASSWORD_RESET: "Choose a new password",
}
_REASONS = {
    Purpose.VERIFICATION: "Somebody, most likely you, asked to confirm this e-mail address.",
    Purpose.PASSWORD_RESET: (
        "Somebody, most likely you, asked for a new password for the account with this e-mail"
        " address."
    ),
}
_PAGES = {Purpose.VERIFICATION: "verification", Purpose.PASSWORD_RESET: "password-reset"}


def write(
    purpose: Purpose, to: str, token: str, expires_at: datetime, public_url: str | None
) -> Mail:
    """The mail that carries `token`, which stands alone on a line of its text."""
    reason = _REASONS[purpose]
    # Behind the #, so that it gets into no server's log.
    link = f"{public_url.rstrip('/')}/{_PAGES[purpose]}#{token}" if public_url else ""
    terms = f"It works once, until {expires_at:%Y-%m-%d %H:%M} UTC."
    comfort = "If it was not you, there is nothing to do: without the token nothing changes."
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
