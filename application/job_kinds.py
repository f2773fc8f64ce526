"""The kinds of jobs that there are: mails, reactions, regular work, and those of the concepts."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from itertools import chain

from application.concepts import modules
from application.jobs import Kind, Regular
from application.ports.jobs import FailedForNow, Job
from application.ports.mail import MAIL_JOB
from application.ports.storage import UnitOfWork
from application.reactions import Reaction, Reactions, happened_of, name_of
from application.services import Services
from domain.errors import AlreadyGone
from domain.jobs import pause_after


async def _mail(services: Services, job: Job) -> None:
    await services.mail.deliver(job)


def _reaction_kind(reaction: Reaction) -> Kind:
    async def react(services: Services, job: Job) -> None:
        async def work(uow: UnitOfWork) -> None:
            await reaction(happened_of(job), uow)
            # With its changes, so that they are made once. If another process has claimed the job
            # since, it is that one's to do.
            if await uow.jobs.remove(job):
                await uow.commit()

        # What was to be changed may be gone: nothing follows then.
        with suppress(AlreadyGone):
            await services.ports.storage.run(work)

    return Kind(name=name_of(reaction), work=react)


MAIL = Kind(name=MAIL_JOB, work=_mail, pause=partial(pause_after, longest=timedelta(hours=12)))
"""The attempts at a mail are spread over 66 hours. One that is of no use any more ends earlier."""


class JobKinds:
    """`kinds` and `regular` are added to those that the modules of the concepts list as `JOBS` and
    `REGULAR`. Raises ValueError if two kinds have the same name.
    """

    def __init__(
        self, kinds: Collection[Kind], regular: Collection[Regular], reactions: Reactions
    ) -> None:
        concepts = modules("application")
        listed = (it for module in concepts for it in getattr(module, "REGULAR", ()))
        self.regular: Mapping[str, Regular] = {it.name: it for it in (*regular, *listed)}
        """The regular work, by name."""
        all_kinds = [
            MAIL,
            *kinds,
            *map(_reaction_kind, dict.fromkeys(chain.from_iterable(reactions.values()))),
            *(it for module in concepts for it in getattr(module, "JOBS", ())),
            *(it.kind for it in self.regular.values()),
        ]
        self._kinds = {kind.name: kind for kind in all_kinds}
        if len(self._kinds) < len(all_kinds):
            raise ValueError("two kinds of jobs have the same name")

    @property
    def names(self) -> Collection[str]:
        return self._kinds.keys()

    def of(self, name: str) -> Kind:
        """The kind of this name. Jobs of a kind that only another release has fail for now."""
        return self._kinds.get(name) or Kind(name=name, work=_unknown)


async def _unknown(_: Services, __: Job) -> None:
    raise FailedForNow("this release has no jobs of this kind")
