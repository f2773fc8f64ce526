import asyncio

from application.ports.mail import Mail, Mailer
from domain.addresses import host_of
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
