"""Logins of accounts without a second factor."""

from application.auth import AuthService
from application.logins import ClientInfo, Login


async def log_in(auth: AuthService, email: str, password: str, client: ClientInfo) -> Login:
    """The session of a password that is enough."""
    login = await auth.login(email, password, client)
    assert isinstance(login, Login)
    return login
