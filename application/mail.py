"""Mail: one-time codes and notices, queued within a transaction, written and sent later.

What waits as a job is the wish for a code. The code itself is made when its mail is written,
so no storage ever has it, and asking for one is the same work whether there is such a user or not.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from application.notices import write_address_taken, write_notice
from application.ports.clock import Clock
from application.ports.jobs import FailedForNow, Job, NeverSucceeds
from application.ports.mail import Mail, Mailer, MailNotSent, MailRefused, OutboxMessage
from application.ports.queries import Queries
from application.ports.storage import Storage, UnitOfWork
from domain.events import Event
from domain.notices import NOTICE_LIFETIME, Notice
from domain.one_time_codes import LIFETIMES, Purpose, new_code, recipient


@dataclass(frozen=True, slots=True)
class Site:
    """Where mails lead. `url`: the site of the service, None: mails have no links. `console`: the
    path of the console there, prefix and all; None: a team's own pages take the codes.
    """

    url: str | None = None
    console: str | None = None

    def link(self, purpose: Purpose, token: str) -> str | None:
        if self.url is None:
            return None
        url = self.url.rstrip("/")
        if self.console is None:
            # Behind the #, so that it gets into no server's log.
            return f"{url}/{_OWN_PAGES[purpose]}#{token}"
        # The console needs no script, so the server has to see the token. No log has the query.
        return f"{url}{self.console}/{_CONSOLE_PAGES[purpose]}?token={token}"

    def page(self, name: str) -> str | None:
        """The page of the console with this name, or the site where a team has its own pages."""
        if self.url is None or self.console is None:
            return self.url
        return f"{self.url.rstrip('/')}{self.console}/{name}"


class MailService:
    """`site`: where links lead. `notices`: whether notices are sent, or dropped."""

    def __init__(
        self,
        *,
        queries: Queries,
        storage: Storage,
        mailer: Mailer,
        clock: Clock,
        site: Site,
        notices: bool,
    ) -> None:
        self._queries = queries
        self._storage = storage
        self._mailer = mailer
        self._clock = clock
        self._site = site
        self._notices = notices

    async def deliver(self, job: Job) -> None:
        """Write and send the mail of a job.

        Raises `FailedForNow` if it was not sent. Raises `NeverSucceeds` if the server rejected it
        permanently, or if it has waited for longer than it is of use.
        """
        message, now = OutboxMessage.of(job), self._clock()
        if now - message.added_at >= _lifetime(message.purpose):
            raise NeverSucceeds("it waited for longer than anybody needs it")
        try:
            if mail := await self._written(message, now):
                await self._mailer.send(mail)
        except MailRefused as error:
            raise NeverSucceeds(str(error)) from error
        except MailNotSent as error:
            raise FailedForNow(str(error)) from error

    async def _written(self, message: OutboxMessage, now: datetime) -> Mail | None:
        """The mail; None when there is nobody to have one."""
        if isinstance(message.purpose, Notice):
            return self._notice(message, message.purpose)
        if message.purpose is Purpose.VERIFICATION:
            owner = await self._queries.credentials(message.email)
            if owner is not None and owner.user.id != message.user_id:
                # Another account has the pending address: it gets a notice, and nobody a code.
                taken = write_address_taken(owner.user.email, self._site.page("login"))
                return taken if owner.user.is_active else None
        return await self._with_code(message, message.purpose, now)

    def _notice(self, message: OutboxMessage, notice: Notice) -> Mail | None:
        if not self._notices:
            return None
        return write_notice(
            notice,
            message.email,
            at=message.added_at,
            ip=message.origin.ip,
            link=self._site.page("security"),
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
            if to == user.pending_email and await uow.codes.reserves(to, now, but=user.id):
                return write_address_taken(to, self._site.page("login"))
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
            await uow.commit()
            return write(purpose, to, token, code.expires_at, self._site)

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
_LABELS = {
    Purpose.VERIFICATION: "Confirm the address",
    Purpose.PASSWORD_RESET: "Choose a new password",
    Purpose.EMAIL_CHANGE_UNDO: "Bring this address back",
}
_HARMLESS = "If it was not you, there is nothing to do: without the token nothing changes."
_COMFORTS = {
    Purpose.VERIFICATION: _HARMLESS,
    Purpose.PASSWORD_RESET: _HARMLESS,
    Purpose.EMAIL_CHANGE_UNDO: "If it was you, there is nothing to do.",
}
_CONSOLE_PAGES = {
    Purpose.VERIFICATION: "verify",
    Purpose.PASSWORD_RESET: "reset",
    Purpose.EMAIL_CHANGE_UNDO: "undo",
}
_OWN_PAGES = {
    Purpose.VERIFICATION: "verification",
    Purpose.PASSWORD_RESET: "password-reset",
    Purpose.EMAIL_CHANGE_UNDO: "email-change-undo",
}


_REGISTERS = (
    "Somebody, most likely you, wants to register an account with this e-mail address. If you use"
    " this token, the account exists, with the password that was given when it was asked for."
)


def write(
    purpose: Purpose,
    to: str,
    token: str,
    expires_at: datetime,
    site: Site,
    *,
    registers: bool = False,
) -> Mail:
    """The mail that carries `token`.

    `registers`: whether it completes a registration.
    """
    return Mail(
        to=to,
        subject=_SUBJECTS[purpose],
        paragraphs=[_REGISTERS if registers else _REASONS[purpose]],
        token=token,
        link=site.link(purpose, token),
        label="Complete the registration" if registers else _LABELS[purpose],
        closing=[f"It works once, until {expires_at:%Y-%m-%d %H:%M} UTC.", _COMFORTS[purpose]],
    )
