"""Notices: mails to users about changes to their account."""

from datetime import datetime

from application.ports.mail import Mail
from application.ports.storage import UnitOfWork
from domain.events import Happened
from domain.notices import Notice


async def send_notice(happened: Happened, uow: UnitOfWork) -> None:
    """The reaction to the events of `Notice`: one mail to the address that the user had before.

    Nothing is sent if the event concerns nobody.
    """
    concerned, event = happened.concerned, happened.event
    if concerned is not None:
        notice = Notice(event.name)
        await uow.outbox.add(notice, concerned.email, event.at, user_id=concerned.id)


_RECOVER = (
    "If it was not you, somebody else has access to your account. Ask for a new password now: this"
    " ends all sessions."
)
_REVIEW = (
    " Then remove the authenticator apps, passkeys and personal tokens that are not yours. Personal"
    " tokens keep working after a change of password, until you delete them."
)
_TEXTS = {
    Notice.PASSWORD_CHANGED: (
        "Your password was changed",
        "The password of your account was changed",
        _RECOVER + _REVIEW,
    ),
    Notice.PASSWORD_RESET: (
        "Your password was reset",
        "A new password was set for your account, without the old one,",
        _RECOVER + _REVIEW,
    ),
    Notice.ADDRESS_RESTORED: (
        "Your account got its former e-mail address back",
        "A change of the e-mail address of your account was undone, with the token that was mailed"
        " to the former address. All sessions have ended. This address no longer belongs to the"
        " account. It happened",
        "If it was not you, whoever reads the mail of the former address has the account now."
        " Write to the operator of the service.",
    ),
    Notice.TOTP_ADDED: (
        "An authenticator app was added to your account",
        "Logging in to your account now takes a code of an authenticator app, which was added",
        _RECOVER + " If you cannot log in without the app, write to the operator of the service.",
    ),
    Notice.TOTP_REMOVED: (
        "The authenticator app was removed from your account",
        "The authenticator app of your account was removed",
        _RECOVER + _REVIEW,
    ),
    Notice.RECOVERY_CODES_MADE: (
        "Your account has new recovery codes",
        "New recovery codes were made for your account, and the old ones are void. It happened",
        _RECOVER + " Then make new recovery codes.",
    ),
    Notice.FACTORS_REMOVED: (
        "The second factors of your account were removed",
        "An administrator removed the authenticator app, the recovery codes and the passkeys of"
        " your account, and ended all sessions",
        "Log in with your password and set them up again. If you did not ask for this, write to the"
        " operator of the service.",
    ),
    Notice.PASSKEY_ADDED: (
        "A passkey was added to your account",
        "A passkey, which logs in without a password, was added to your account",
        _RECOVER + _REVIEW,
    ),
    Notice.PASSKEY_RENAMED: (
        "A passkey of your account was renamed",
        "A passkey of your account got another name",
        _RECOVER + _REVIEW,
    ),
    Notice.PASSKEY_REMOVED: (
        "A passkey was removed from your account",
        "A passkey of your account was removed",
        _RECOVER + _REVIEW,
    ),
    Notice.TOKEN_MADE: (
        "A personal token was made for your account",
        "A personal token, with which programs act as you, was made for your account",
        _RECOVER + _REVIEW,
    ),
    Notice.TOKEN_DELETED: (
        "A personal token of your account was deleted",
        "A personal token of your account was deleted: programs that use it stop working. It"
        " happened",
        _RECOVER + _REVIEW,
    ),
    Notice.TOKENS_DELETED: (
        "The personal tokens of your account were deleted",
        "An administrator deleted the personal tokens of your account: programs that use them stop"
        " working. It happened",
        "If you did not ask for this, write to the operator of the service.",
    ),
    Notice.REFRESH_TOKEN_REUSED: (
        "A session of your account was ended for safety",
        "A refresh token of your account was used a second time, so somebody may have copied it."
        " The session that it belonged to was ended",
        "If this happens once, after a lost connection for example, log in again. If it happens"
        " more often, ask for a new password: this ends all sessions.",
    ),
    Notice.NEW_NETWORK: (
        "A login to your account from a new network",
        "Somebody logged in to your account from a network that it was not used from before",
        "They knew the password, or had a passkey. " + _RECOVER + _REVIEW,
    ),
}


def write_notice(
    notice: Notice, to: str, *, at: datetime, ip: str | None, link: str | None
) -> Mail:
    """The mail about a change that was made at `at`, by a client at `ip` if it is known.

    It repeats no text that a client chose, which could be a stranger's. `link`: where users look
    after their account.
    """
    subject, event, advice = _TEXTS[notice]
    origin = f", by a client at the address {ip}" if ip else ""
    paragraphs = [f"{event} on {at:%Y-%m-%d} at {at:%H:%M} UTC{origin}."]
    if notice not in _ADMINS_ACTS:
        paragraphs.append("If it was you, there is nothing to do.")
    paragraphs.append(advice)
    label = "Look at your account"
    return Mail(to=to, subject=subject, paragraphs=paragraphs, link=link, label=label)


_ADMINS_ACTS = (Notice.FACTORS_REMOVED, Notice.TOKENS_DELETED, Notice.REFRESH_TOKEN_REUSED)


def write_address_taken(to: str, link: str | None) -> Mail:
    """The mail to the owner of an address that somebody else, or they again, want to register."""
    paragraphs = [
        "Somebody, most likely you, wanted to register an account with this e-mail address, or to"
        " use it for another account. An account has this address already, or had it until a few"
        " days ago.",
        "If it was you, log in to that account. If you forgot the password, ask for a new one.",
        "If it was not you, there is nothing to do. Nothing was changed, and nobody but you was"
        " told that there is an account.",
    ]
    subject = "You have an account already"
    return Mail(to=to, subject=subject, paragraphs=paragraphs, link=link, label="Log in")
