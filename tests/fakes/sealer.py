from itertools import count

from application.ports.sealer import Sealer


class FakeSealer(Sealer):
    """Numbers what it seals. Empty `sealed` to have the key lost."""

    def __init__(self) -> None:
        self.sealed: dict[str, tuple[str, str]] = {}
        self._numbers = count(1)

    def seal(self, secret: str, context: str) -> str:
        name = f"sealed-{next(self._numbers)}"
        self.sealed[name] = (secret, context)
        return name

    def open(self, sealed: str, context: str) -> str | None:
        secret, sealed_in = self.sealed.get(sealed, ("", None))
        return secret if sealed_in == context else None
