"""The contracts of codes, the outbox and mailers."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from email.utils import parsedate_to_datetime
from html import escape
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import bindparam, insert

from application.ports.jobs import JobList
from application.ports.mail import Mail, Mailer, MailNotSent, MailRefused, OutboxMessage
from application.request_info import REQUEST_INFO, RequestInfo
from domain.errors import AlreadyGone
from domain.notices import Notice
from domain.one_time_codes import OneTimeCode, Purpose
from domain.users import User, UserId
from infrastructure.database.mail import OUTBOX
from infrastructure.mail import ConsoleMailer, SmtpMailer, check_sender, check_smtp_url
from infrastructure.mail_html import html_of
from tests.contracts.backends import Backend, FakeBackend, SqlBackend
from tests.fakes.clock import NOON
from tests.fakes.mail import FakeMailer
from tests.smtp import Certificate, Inbox, part_of, running_smtp

ROOT = Path(__file__).parents[2]
SECOND = timedelta(seconds=1)
HALF_MINUTE = 30 * SECOND
LATER = NOON + HALF_MINUTE
_QUEUE = insert(OUTBOX).values({c: bindparam(c.name) for c in OUTBOX.c if c.name != "id"})


def code(user: User, name: str = "hash", **changes: object) -> OneTimeCode:
    wanted = {"purpose": Purpose.VERIFICATION, "email": user.email, "expires_at": LATER} | changes
    return OneTimeCode(user_id=user.id, code_hash=name, **wanted)  # type: ignore[arg-type]


async def add(backend: Backend, *codes: OneTimeCode) -> None:
    async with backend.storage() as uow:
        for one in codes:
            await uow.codes.add(one)
        await uow.commit()


async def use(backend: Backend, name: str) -> bool:
    async with backend.storage() as uow:
        used = await uow.codes.consume(name)
        await uow.commit()
    return used


# Codes


@pytest.mark.parametrize("purpose", Purpose)
async def test_a_code_is_returned_as_it_was_stored_with_its_user(
    backend: Backend, purpose: Purpose
) -> None:
    anna, bert = await backend.add_user(), await backend.add_user()
    hers = code(anna, "hers", purpose=purpose)
    await add(backend, hers, code(bert, "his"))

    found = await backend.queries.code("hers")

    assert found is not None
    assert found[0] == hers
    assert found[1].id == anna.id
    assert await backend.queries.code("another") is None


async def test_a_code_is_used_once(backend: Backend) -> None:
    anna = await backend.add_user()
    await add(backend, code(anna, "one"), code(anna, "two"))

    used = await asyncio.gather(*(use(backend, "one") for _ in range(5)))

    assert sorted(used) == [False] * 4 + [True]
    assert await backend.queries.code("one") is None
    assert await use(backend, "two")


async def test_deleting_all_codes_of_a_user_keeps_those_of_others(backend: Backend) -> None:
    anna, bert = await backend.add_user(), await backend.add_user()
    await add(backend, code(anna, "one"), code(anna, "two"), code(bert, "his"))

    async with backend.storage() as uow:
        await uow.codes.delete_all(anna.id)
        await uow.commit()

    assert [await use(backend, name) for name in ("one", "two", "his")] == [False, False, True]


async def test_undo_codes_are_deleted_from_a_given_one_on(backend: Backend) -> None:
    anna, bert = await backend.add_user(), await backend.add_user()
    ends = {"early": NOON, "same": LATER, "late": LATER + SECOND}
    undo = Purpose.EMAIL_CHANGE_UNDO
    await add(
        backend,
        *(code(anna, name, purpose=undo, expires_at=end) for name, end in ends.items()),
        code(bert, "his", purpose=undo),
        code(anna, "other"),
    )

    async with backend.storage() as uow:
        await uow.codes.delete_undos(code(anna, "used", purpose=undo, email="a@example.com"))
        await uow.commit()

    names = ("early", "same", "late", "his", "other")
    assert [await use(backend, name) for name in names] == [True, False, False, True, True]


async def test_an_older_code_for_the_same_address_decides_which_undo_codes_are_deleted(
    backend: Backend,
) -> None:
    anna = await backend.add_user()
    undo = Purpose.EMAIL_CHANGE_UNDO
    codes = {
        "before": {"email": "b@example.com", "expires_at": NOON - SECOND},
        "first": {"email": "a@example.com", "expires_at": NOON},
        "between": {"email": "b@example.com", "expires_at": NOON + SECOND},
    }
    await add(backend, *(code(anna, name, purpose=undo, **it) for name, it in codes.items()))

    async with backend.storage() as uow:
        await uow.codes.delete_undos(code(anna, "used", purpose=undo, email="a@example.com"))
        await uow.commit()

    assert [await use(backend, name) for name in codes] == [True, False, False]


async def test_deleting_all_codes_keeps_undo_codes(backend: Backend) -> None:
    anna = await backend.add_user()
    await add(backend, *(code(anna, purpose, purpose=purpose) for purpose in Purpose))

    async with backend.storage() as uow:
        await uow.codes.delete_all(anna.id)
        await uow.commit()

    assert [await use(backend, purpose) for purpose in Purpose] == [False, False, True]


async def test_an_address_is_reserved_while_it_has_an_undo_code(backend: Backend) -> None:
    anna, bert = await backend.add_user(), await backend.add_user()
    undo = code(anna, "undo", email="v@faß.example", purpose=Purpose.EMAIL_CHANGE_UNDO)
    await add(backend, undo, code(anna, email="other@example.com"))

    async with backend.storage() as uow:
        asked = {
            "same": await uow.codes.reserves("V@xn--fa-hia.example", NOON),
            "of another": await uow.codes.reserves("v@faß.example", NOON, but=bert.id),
            "one's own": await uow.codes.reserves("v@faß.example", NOON, but=anna.id),
            "expired": await uow.codes.reserves("v@faß.example", LATER),
            "another address": await uow.codes.reserves("v@fass.example", NOON),
            "another purpose": await uow.codes.reserves("other@example.com", NOON),
        }

    assert [kind for kind, answer in asked.items() if answer] == ["same", "of another"]


async def test_removing_a_user_removes_their_codes(backend: Backend) -> None:
    anna = await backend.add_user()
    await add(backend, code(anna))

    await backend.remove_user(anna.id)

    assert await backend.queries.code("hash") is None
    with pytest.raises(AlreadyGone):
        await add(backend, code(anna))


# The outbox


async def message_of(backend: Backend) -> OutboxMessage | None:
    async with backend.storage() as uow:
        job = await uow.jobs.claim(LATER, until=LATER + HALF_MINUTE)
        await uow.commit()
    return OutboxMessage.of(job) if job else None


@pytest.mark.parametrize("user_id", [None, UserId(7)])
async def test_a_message_is_a_job_with_the_info_of_its_request(
    backend: Backend, user_id: UserId | None
) -> None:
    origin = RequestInfo("request-1", "192.0.2.1")
    token = REQUEST_INFO.set(origin)
    try:
        async with backend.storage() as uow:
            await uow.outbox.add(Purpose.PASSWORD_RESET, "Änna@example.com", NOON, user_id=user_id)
            await uow.commit()
    finally:
        REQUEST_INFO.reset(token)

    assert await message_of(backend) == OutboxMessage(
        purpose=Purpose.PASSWORD_RESET,
        email="Änna@example.com",
        user_id=user_id,
        added_at=NOON,
        attempts=1,
        origin=origin,
    )


@pytest.mark.parametrize("purpose", [*Purpose, *Notice], ids=repr)
async def test_a_message_keeps_its_purpose(purpose: Purpose | Notice) -> None:
    backend = FakeBackend()
    async with backend.storage() as uow:
        await uow.outbox.add(purpose, "anna@example.com", NOON)
        await uow.commit()

    message = await message_of(backend)

    assert message is not None
    assert message.purpose is purpose


@pytest.mark.parametrize("backend_url", ["sqlite", "postgresql"], indirect=True)
async def test_a_mail_that_the_release_before_has_queued_is_sent_once(backend: Backend) -> None:
    assert isinstance(backend, SqlBackend)
    letter = {
        "purpose": "verification",
        "email": "anna@faß.example",
        "due_at": NOON,
        "attempts": 3,
        "request_id": "request-1",
        "ip": None,
        "user_id": 7,
        "added_at": NOON - SECOND,
        "host": "xn--fa-hia.example",
    }
    async with backend.database.transaction() as transaction:
        await transaction.fetch(_QUEUE, **letter)
        await transaction.commit()

    assert await backend.queries.of(JobList).next_due() == NOON
    assert await message_of(backend) == OutboxMessage(
        purpose=Purpose.VERIFICATION,
        email="anna@faß.example",
        user_id=UserId(7),
        added_at=NOON - SECOND,
        attempts=4,
        origin=RequestInfo("request-1", None),
    )
    assert await message_of(backend) is None


# Mailers

MAIL = Mail(
    to="anna@example.com",
    subject="Grüße",
    paragraphs=["Somebody asked for a token."],
    token="abc_123-" + "x" * 60,
    link="https://example.org/console/reset?token=abc_123&a=b",
    label="Ä <b>",
    closing=["It's over at noon."],
)
SENDER = "Gatepost <post@example.org>"
SITE = "https://example.org/"


@pytest.fixture
async def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
async def smtp(inbox: Inbox) -> AsyncIterator[str]:
    async with running_smtp(inbox) as address:
        yield f"smtp://{address}"


@pytest.mark.parametrize("adapter", ["fake", "console", "smtp"])
async def test_a_mail_is_delivered(adapter: str, smtp: str) -> None:
    adapters: dict[str, Mailer] = {
        "fake": FakeMailer(),
        "console": ConsoleMailer(),
        "smtp": SmtpMailer(smtp, sender=SENDER),
    }
    await adapters[adapter].send(MAIL)


async def test_a_mail_arrives_as_it_was_written(smtp: str, inbox: Inbox) -> None:
    await SmtpMailer(smtp, sender=SENDER, html=html_of).send(MAIL)

    (mail,) = inbox.mails
    assert mail.get_content_type() == "multipart/alternative"
    assert inbox.recipients == ["anna@example.com"]
    assert (mail["From"], mail["To"], mail["Subject"]) == (SENDER, "anna@example.com", "Grüße")
    assert mail["Message-ID"].endswith("@example.org>")
    assert parsedate_to_datetime(mail["Date"]).tzinfo is not None
    assert mail["Auto-Submitted"] == "auto-generated"
    assert part_of(mail, "plain") == MAIL.text
    assert part_of(mail, "html").rstrip("\n") == html_of(MAIL)


async def test_without_a_template_a_mail_is_plain_text(smtp: str, inbox: Inbox) -> None:
    await SmtpMailer(smtp, sender=SENDER).send(MAIL)

    (mail,) = inbox.mails
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content().replace("\r\n", "\n") == MAIL.text


def test_the_text_of_a_mail_has_token_and_link_alone_on_their_lines() -> None:
    assert MAIL.text.split("\n\n") == [
        "Somebody asked for a token.",
        "This is the token for it:",
        MAIL.token,
        f"Ä <b>:\n{MAIL.link}",
        "It's over at noon.\n",
    ]


def test_the_html_of_a_mail_says_the_same_escaped_and_loads_nothing() -> None:
    hostile = "<img src=https://evil.example/x onerror=y>\"'&"
    mail = Mail(to="a@example.com", subject=hostile, paragraphs=[hostile])
    link = f"{SITE}?{hostile}"
    html = html_of(replace(mail, token=hostile, link=link, label=hostile, closing=[hostile]))
    plain = html_of(mail)

    assert html.count("&lt;img") >= 5
    for page in (html, plain):
        assert "<img" not in page
        assert not re.search(r"<(script|link|style|iframe|svg)\b|url\(|@import", page)
        assert re.findall(r"https?://[^\s\"&]+", page.replace("https://evil.example/x", "")) == (
            [f"{SITE}?"] if page is html else []
        )
    assert "<a " not in plain
    assert MAIL.text.split()[0] in html_of(MAIL)
    for part in (*MAIL.paragraphs, MAIL.token, MAIL.link, MAIL.label, *MAIL.closing):
        assert escape(part or "").replace("&#x27;", "&#39;") in html_of(MAIL)


@pytest.mark.parametrize(
    ("to", "received"),
    [
        ("anna@exämple.com", "anna@xn--exmple-cua.com"),
        ("v@faß.example", "v@xn--fa-hia.example"),
        ("v@οδος.example", "v@xn--pxavbm.example"),
        ("änna@example.com", "änna@example.com"),
        ('"anna b"@example.com', '"anna b"@example.com'),
        ("anna+tag@example.com", "anna+tag@example.com"),
    ],
)
async def test_a_mail_reaches_addresses_of_every_kind(
    smtp: str, inbox: Inbox, to: str, received: str
) -> None:
    mail = replace(MAIL, to=to)

    await SmtpMailer(smtp, sender=SENDER).send(mail)

    assert inbox.recipients == [received]


async def test_the_sender_may_have_a_domain_outside_ascii(smtp: str, inbox: Inbox) -> None:
    await SmtpMailer(smtp, sender="Straße <post@straße.example>").send(MAIL)

    (mail,) = inbox.mails
    assert mail["From"] == "Straße <post@xn--strae-oqa.example>"
    assert mail["Message-ID"].endswith("@xn--strae-oqa.example>")


@pytest.mark.parametrize("sender", ["", "Gatepost", "post@", "@example.com", "a@b\nBcc: c@d"])
def test_a_sender_without_an_address_is_refused(sender: str) -> None:
    with pytest.raises(ValueError, match="must be ADDRESS"):
        check_sender(sender)


@pytest.mark.parametrize(
    ("answer", "error"), [("550 unknown", MailRefused), ("450 full", MailNotSent)]
)
async def test_a_refusal_is_permanent_or_temporary(
    smtp: str, inbox: Inbox, answer: str, error: type[Exception]
) -> None:
    inbox.refused = answer

    with pytest.raises(error) as failure:
        await SmtpMailer(smtp, sender=SENDER).send(MAIL)

    assert "anna" not in str(failure.value)


@pytest.mark.parametrize("to", ["anna@", "no address", "anna@example.com\nBcc: eve@example.com"])
async def test_what_is_no_address_is_refused(smtp: str, inbox: Inbox, to: str) -> None:
    mail = replace(MAIL, to=to)

    with pytest.raises(MailRefused):
        await SmtpMailer(smtp, sender=SENDER).send(mail)
    assert inbox.mails == []


async def test_a_silent_server_is_a_temporary_failure() -> None:
    with pytest.raises(MailNotSent):
        await SmtpMailer("smtp://127.0.0.1:1", sender=SENDER).send(MAIL)


async def test_the_connection_is_encrypted_if_the_server_offers_it(
    inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = Certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))

    async with running_smtp(inbox, starttls=certificate) as address:
        await SmtpMailer(f"smtp://{address}", sender=SENDER).send(MAIL)
    async with running_smtp(inbox, tls=certificate) as address:
        await SmtpMailer(f"smtps://{address}", sender=SENDER).send(MAIL)
    async with running_smtp(inbox) as address:
        await SmtpMailer(f"smtp://{address}", sender=SENDER).send(MAIL)

    assert inbox.encrypted == [True, True, False]


@pytest.mark.parametrize("implicit", [True, False])
async def test_an_untrusted_certificate_is_logged_once_with_a_remedy(
    inbox: Inbox, tmp_path: Path, caplog: pytest.LogCaptureFixture, implicit: bool
) -> None:
    certificate = Certificate(tmp_path)
    kind: dict[str, Any] = {"tls" if implicit else "starttls": certificate}
    async with running_smtp(inbox, **kind) as address:
        mailer = SmtpMailer(f"{'smtps' if implicit else 'smtp'}://{address}", sender=SENDER)
        for _ in range(2):
            with pytest.raises(MailNotSent):
                await mailer.send(MAIL)
        problem = await mailer.check()

    (line,) = [record.message for record in caplog.records if record.name == "gatepost.mail"]
    assert "certificate is not trusted (self-signed certificate)" in line
    assert "SSL_CERT_FILE" in line
    assert problem == line


async def test_a_server_with_an_untrusted_certificate_gets_no_mail(
    inbox: Inbox, tmp_path: Path
) -> None:
    certificate = Certificate(tmp_path)

    async with running_smtp(inbox, starttls=certificate) as address:
        with pytest.raises(MailNotSent):
            await SmtpMailer(f"smtp://{address}", sender=SENDER).send(MAIL)
    async with running_smtp(inbox, tls=certificate) as address:
        with pytest.raises(MailNotSent):
            await SmtpMailer(f"smtps://{address}", sender=SENDER).send(MAIL)

    assert inbox.mails == []


async def test_a_password_is_never_sent_in_the_clear(smtp: str, inbox: Inbox) -> None:
    url = smtp.replace("//", "//me:secret@")

    with pytest.raises(MailNotSent):
        await SmtpMailer(url, sender=SENDER).send(MAIL)

    assert inbox.mails == []


async def test_a_password_is_sent_over_an_encrypted_connection(
    inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = Certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))

    async with running_smtp(inbox, starttls=certificate, login=("me", "a:secret")) as address:
        with pytest.raises(MailNotSent):
            await SmtpMailer(f"smtp://me:wrong@{address}", sender=SENDER).send(MAIL)
        await SmtpMailer(f"smtp://me:a%3Asecret@{address}", sender=SENDER).send(MAIL)

    assert len(inbox.mails) == 1


@pytest.mark.parametrize(
    "url",
    ["http://mail", "mail", "smtp://", "smtp://host:port", "smtp://a/b", "smtp://u:p@h:99999"],
)
def test_a_bad_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="must be smtp") as error:
        check_smtp_url(url)
    assert str(error.value).endswith("smtps://USER:PASSWORD@HOST:PORT")


async def test_the_console_shows_the_token_alone_on_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    await ConsoleMailer().send(MAIL)

    lines = capsys.readouterr().out.splitlines()
    assert "To: anna@example.com" in lines
    assert "abc_123-" + "x" * 60 in lines


def test_the_console_shows_the_token_in_every_encoding() -> None:
    program = (
        "import asyncio; from infrastructure.mail import ConsoleMailer;"
        "from application.ports.mail import Mail;"
        "mail = Mail(to='änna@exämple.com', subject='Grüße', paragraphs=['abc_123', 'Ä']);"
        "asyncio.run(ConsoleMailer().send(mail))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )

    assert "abc_123" in done.stdout.splitlines()
