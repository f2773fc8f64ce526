from application.ports.mail import Mail, Mailer
from tests.secrecy import SECRECY


class FakeMailer(Mailer):
    """Keeps what was `sent`. Set `trouble` to have it raised instead."""

    def __init__(self) -> None:
        self.sent: list[Mail] = []
        self.trouble: BaseException | None = None

    async def send(self, mail: Mail) -> None:
        if self.trouble:
            raise self.trouble
        SECRECY.keep_codes(mail.text)
        self.sent.append(mail)
