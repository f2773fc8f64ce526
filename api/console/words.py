"""Times, clients and events in words."""

import re
from datetime import datetime

_UNITS = (
    (86_400 * 365, "year"),
    (86_400 * 30, "month"),
    (86_400, "day"),
    (3600, "hour"),
    (60, "minute"),
)

_BROWSERS = (
    (re.compile(r"Edg(?:e|A|iOS)?/"), "Edge"),
    (re.compile(r"OPR/|Opera"), "Opera"),
    (re.compile(r"Firefox/|FxiOS/"), "Firefox"),
    (re.compile(r"HeadlessChrome/|Chromium/"), "Chromium"),
    (re.compile(r"Chrome/|CriOS/"), "Chrome"),
    (re.compile(r"Safari/"), "Safari"),
    (re.compile(r"curl/"), "curl"),
    (re.compile(r"python-httpx/|python-requests/|aiohttp/"), "a Python program"),
)
_SYSTEMS = (
    (re.compile(r"Android"), "Android"),
    (re.compile(r"iPhone|iPad"), "iOS"),
    (re.compile(r"Windows"), "Windows"),
    (re.compile(r"Macintosh|Mac OS X"), "macOS"),
    (re.compile(r"CrOS"), "ChromeOS"),
    (re.compile(r"Linux|X11"), "Linux"),
)


def relative(moment: datetime, now: datetime) -> str:
    """How far `moment` is from `now`: "3 hours ago", "in 30 days"."""
    seconds = (now - moment).total_seconds()
    for length, unit in _UNITS:
        number = int(abs(seconds) // length)
        if number:
            amount = f"{number} {unit}{'s' if number > 1 else ''}"
            return f"{amount} ago" if seconds > 0 else f"in {amount}"
    return "just now" if seconds >= 0 else "in a moment"


def exact(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def client(user_agent: str | None) -> str:
    """A browser and its system, as far as they can be told: "Firefox on Linux"."""
    if not user_agent:
        return "Unknown client"
    browser = _named(user_agent, _BROWSERS)
    system = _named(user_agent, _SYSTEMS)
    if browser and system:
        return f"{browser} on {system}"
    return browser or system or user_agent[:40]


def _named(user_agent: str, names: tuple[tuple[re.Pattern[str], str], ...]) -> str | None:
    return next((name for pattern, name in names if pattern.search(user_agent)), None)


def event(name: str) -> str:
    """The name of an event as a sentence's beginning: "User renamed"."""
    return name.replace("_", " ").capitalize().replace("Totp", "TOTP")
