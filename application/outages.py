"""What clients see while an adapter cannot work: each is a 503."""

from domain.errors import Unavailable


class DatabaseUnavailable(Unavailable):
    detail = "The database does not answer"


class DatabaseBusy(DatabaseUnavailable):
    """It answers others, and took too long for this."""

    detail = "The database is too busy to answer in time"


class SchemaMissing(DatabaseUnavailable):
    """A table or a column is not there."""

    detail = "The database has not been migrated: run `gatepost migrate`"


class TakesNoChanges(DatabaseUnavailable):
    """It may be read, but its disk is full, say, or it has been made a standby."""

    detail = "The database takes no changes at the moment"


class SerializationFailure(DatabaseUnavailable):
    """Concurrent transactions could not be brought into one order with this one. Nothing was done,
    and the same may succeed a moment later.
    """

    detail = "Too much is changing at the same time: try again"


class OutcomeUnknown(Unavailable):
    """The commit was sent and never confirmed."""

    detail = "The database did not confirm the change: it may have been made, or not"


OUTAGES = (
    DatabaseUnavailable,
    DatabaseBusy,
    SchemaMissing,
    TakesNoChanges,
    SerializationFailure,
    OutcomeUnknown,
)
"""Those of the database, which any use case may raise."""


class HashingBusy(Unavailable):
    detail = "Too many passwords are being checked at the moment"


class ProviderSilent(Unavailable):
    detail = "The provider of tokens does not answer"
