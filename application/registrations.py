"""Registrations that are completed by mail: request, mail, completion, expiry.

The request does the same work for a free and a taken address. Which it is, the worker finds out
when it writes the mail.
"""

import secrets

from application.errors import raises
from application.jobs import Kind
from application.mail import Site, write
from application.notices import write_address_taken
from application.one_time_codes import OneTimeCodeService
from application.outages import HashingBusy
from application.ports.jobs import FailedForNow, Job, NeverSucceeds, NewJob
from application.ports.limits import Limit, Limits, account_hit
from application.ports.mail import Mail, MailNotSent, MailRefused, mail_lane
from application.ports.passwords import Requester
from application.ports.registrations import Registrations
from application.ports.storage import UnitOfWork
from application.services import Ports, Services
from domain.events import Event
from domain.one_time_codes import InvalidCode, Purpose
from domain.passwords import PasswordCandidate, check_password
from domain.registrations import (
    NewRegistration,
    PendingRegistration,
    RegistrationClosed,
    RegistrationId,
    RegistrationMode,
    registration_hash,
)
from domain.sessions import network_of
from domain.users import EmailTaken, UserDraft, register

MAIL_JOB = "mail_registration"
EXPIRY_JOB = "expire_registration"


class RegistrationService:
    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._queries = ports.queries
        self._storage = ports.storage
        self._clock = ports.clock

    @raises(RegistrationClosed, register, check_password, Limits.hit, HashingBusy)
    async def ask(self, draft: UserDraft, password: str, *, ip: str | None = None) -> None:
        """Store the wish to register, and mail the address.

        Neither the result nor the duration depends on whether somebody has the address. Raises
        `RegistrationClosed`, the error of a broken rule, `WeakPassword` or `TooManyRequests`.
        """
        if self._ports.registration is RegistrationMode.CLOSED:
            raise RegistrationClosed
        now = self._clock()
        user = register(draft, now=now)
        policy = self._ports.password_policy
        check_password(PasswordCandidate(password=password, email=user.email, policy=policy))
        hit = account_hit(Limit.ACCOUNT_RESETS, user.email, "registration")
        await self._ports.limits.hit(hit)
        requester = Requester(network_of(ip), is_known=False)
        password_hash = await self._ports.passwords.hash(password, requester)

        async def work(uow: UnitOfWork) -> None:
            new = NewRegistration(email=user.email, name=user.name, requested_at=now)
            registration = await uow.of(Registrations).add(new, password_hash)
            payload = {"registration": registration.id}
            lane = mail_lane(user.email)
            await uow.jobs.add(NewJob(kind=MAIL_JOB, payload=payload, due_at=now, lane=lane))
            expiry = NewJob(kind=EXPIRY_JOB, payload=payload, due_at=registration.expires_at)
            await uow.jobs.add(expiry)
            await uow.commit()

        await self._storage.run(work)

    @raises(InvalidCode, EmailTaken)
    async def complete(self, token: str) -> None:
        """Register the user whose address `token` was mailed to, as verified.

        Raises `InvalidCode`, or `EmailTaken` if somebody has registered the address meanwhile.
        """
        now = self._clock()

        async def work(uow: UnitOfWork) -> None:
            found = await uow.of(Registrations).consume(registration_hash(token))
            if found is None or found[0].is_over(now):
                raise InvalidCode
            pending, password = found
            if await uow.codes.reserves(pending.email, now):
                raise EmailTaken
            draft = UserDraft(email=pending.email, name=pending.name)
            user = await uow.users.add(register(draft, now=now), password)
            user.confirm_email(user.email)
            await uow.users.save(user)
            subject = f"user:{user.id}"
            uow.record(Event.of("user_registered", subject, actor_id=None, at=now))
            uow.record(Event.of("address_verified", subject, actor_id=user.id, at=now))
            await uow.commit()

        await self._storage.run(work)

    async def deliver(self, registration_id: RegistrationId) -> None:
        """Mail a code to a free address, or tell the owner of a taken one.

        Raises `FailedForNow` if the mail was not sent. Raises `NeverSucceeds` if it was refused for
        good or is too late.
        """
        token, now = secrets.token_urlsafe(32), self._clock()

        async def work(uow: UnitOfWork) -> PendingRegistration | None:
            pending = await uow.of(Registrations).get(registration_id)
            if pending is not None:
                await uow.of(Registrations).set_code(registration_id, registration_hash(token))
                await uow.commit()
            return pending

        pending = await self._storage.run(work)
        if pending is None:
            return
        if pending.is_over(now):
            raise NeverSucceeds("the registration is over")
        try:
            if mail := await self._mail(pending, token):
                await self._ports.mailer.send(mail)
        except MailRefused as error:
            raise NeverSucceeds(str(error)) from error
        except MailNotSent as error:
            raise FailedForNow(str(error)) from error

    async def _mail(self, pending: PendingRegistration, token: str) -> Mail | None:
        site = Site(self._ports.public_url, self._ports.console)
        owner = await self._queries.credentials(pending.email)
        if owner is not None:
            taken = write_address_taken(owner.user.email, site.page("login"))
            return taken if owner.user.is_active else None
        if await self._is_reserved(pending):
            return write_address_taken(pending.email, site.page("login"))
        until = pending.expires_at
        return write(Purpose.VERIFICATION, pending.email, token, until, site, registers=True)

    async def _is_reserved(self, pending: PendingRegistration) -> bool:
        async def work(uow: UnitOfWork) -> bool:
            return await uow.codes.reserves(pending.email, self._clock())

        return await self._storage.run(work)

    async def expire(self, registration_id: RegistrationId) -> None:
        """Delete a registration that was not completed."""

        async def work(uow: UnitOfWork) -> None:
            await uow.of(Registrations).remove(registration_id)
            await uow.commit()

        await self._storage.run(work)


@raises(OneTimeCodeService.verify, RegistrationService.complete)
async def confirm(services: Services, token: str) -> None:
    """Use a code that was mailed to an address: verify the address, or complete a registration.

    Raises `InvalidCode` or `EmailTaken`.
    """
    try:
        await services.codes.verify(token)
    except InvalidCode:
        await services.of(RegistrationService).complete(token)


async def _deliver(services: Services, job: Job) -> None:
    await services.of(RegistrationService).deliver(RegistrationId(job.payload["registration"]))


async def _expire(services: Services, job: Job) -> None:
    await services.of(RegistrationService).expire(RegistrationId(job.payload["registration"]))


JOBS = (
    Kind(name=MAIL_JOB, work=_deliver, attempts=200),
    Kind(name=EXPIRY_JOB, work=_expire, at_once=1),
)
