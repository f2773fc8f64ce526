import asyncio
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from application.ports.mail import Mail, Mailer
from application.ports.storage import Outbox, OutboxMessage, OutboxMessageId, OutboxStatus
from application.request_info import REQUEST_INFO
from domain.addresses import host_of
from domain.notices import Notice
from domain.one_time_codes import Purpose
from domain.users import UserId
from tests.fakes.storage import FakeUnitOfWork, WaitingMessage
from tests.secrecy import SECRECY


class FakeMailer(Mailer):
    """Keeps what was `sent`. Set `trouble` to have it raised instead. `send` waits while the host
    of the mail is in `slow`, and notes the mail in `sending` meanwhile.
    """

    def __init__(self) -> None:
        self.sent: list[Mail] = []
        self.trouble: BaseException | None = None
        self.slow: dict[str, asyncio.Event] = {}
        self.sending: list[Mail] = []

    async def send(self, mail: Mail) -> None:
        if self.trouble:
            raise self.trouble
        if slow := self.slow.get(host_of(mail.to)):
            self.sending.append(mail)
            await slow.wait()
            self.sending.remove(mail)
        SECRECY.keep_codes(mail.text)
        self.sent.append(mail)


class FakeOutbox(Outbox):
    def __init__(self, uow: FakeUnitOfWork) -> None:
        self._uow = uow

    async def add(
        self,
        purpose: Purpose | Notice,
        email: str,
        now: datetime,
        *,
        user_id: UserId | None = None,
    ) -> None:
        state = await self._uow.state()
        id_ = OutboxMessageId(self._uow.new_id())
        message = OutboxMessage(
            id=id_,
            purpose=purpose,
            email=email,
            user_id=user_id,
            added_at=now,
            attempts=0,
            origin=REQUEST_INFO.get(),
        )
        state.outbox[id_] = WaitingMessage(message, now)

    async def claim(
        self, now: datetime, *, until: datetime, busy: Collection[str] = ()
    ) -> OutboxMessage | None:
        state = await self._uow.state()
        due = [
            waiting
            for waiting in state.outbox.values()
            if waiting.due_at <= now and host_of(waiting.message.email) not in busy
        ]
        if not due:
            return None
        first = min(due, key=lambda waiting: (waiting.due_at, waiting.message.id)).message
        claimed = replace(first, attempts=first.attempts + 1)
        state.outbox[first.id] = WaitingMessage(claimed, until)
        return claimed

    async def postpone(self, message_id: OutboxMessageId, *, until: datetime) -> None:
        state = await self._uow.state()
        state.outbox[message_id] = replace(state.outbox[message_id], due_at=until)

    async def remove(self, message_id: OutboxMessageId) -> None:
        (await self._uow.state()).outbox.pop(message_id, None)

    async def status(self) -> OutboxStatus:
        messages = [waiting.message for waiting in (await self._uow.state()).outbox.values()]
        return OutboxStatus(
            len(messages), min((message.added_at for message in messages), default=None)
        )
