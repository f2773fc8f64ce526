"""Demo data, made up: people of every role, and what they write.

All of it goes by the rules of the domain, so none of it could not have come in by the API.
"""

import secrets
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from domain.passwords import PasswordCandidate, PasswordPolicy, check_password
from domain.posts import NewPost, PostContent, WriteContext, write
from domain.users import NewUser, Role, User, UserDraft, register

SPAN = timedelta(days=2 * 365)
"""How far back the demo data reach."""

_FIRST, _LAST, _ADJECTIVES, _PLACES = map(
    str.split,
    (
        """
        Ada Alan Amina Anna Ben Carla Chen Clara Dana David Elif Emil Eva Farid Grace Hanna Hugo Ida
        Ines Ivan Jana Joan Jonas Kofi Lea Lena Liam Linus Maja Marie Mateo Mia Nadia Nils Noor Olga
        Omar Paul Petra Priya Rosa Samir Sara Sofia Tariq Tom Vera Yuki Zoe
        """,
        """
        Adeyemi Ahmed Albers Andersen Bauer Berg Brandt Castro Costa Diaz Dubois Eriksen Fischer
        Garcia Haddad Hansen Hoffmann Ito Jensen Kaya Keller Khan Klein Koch Kowalski Kumar Larsen
        Lind Lopez Marino Meyer Moreau Nakamura Nguyen Novak Okafor Olsen Park Petrov Rossi Sato
        Schmidt Silva Singh Sokolov Tanaka Vogel Weber Wolf Zhang
        """,
        """
        ancient autumn borrowed brave broken bright cheap clever cold crowded early empty faithful
        familiar forgotten foreign gentle golden hidden honest humble late lonely modest narrow
        northern patient perfect plain quiet rainy rare rusty secret silent simple slow small
        southern stubborn sunny tiny useful warm wild winter wooden
        """,
        """
        garden kitchen mountains library workshop harbour orchestra railway office observatory
        market bicycle
        """,
    ),
)
_THINGS = list(
    map(
        str.split,
        (
            "tomatoes compost roses seedlings greenhouses beans hedges soil pumpkins lavender",
            "sourdough soup dumplings ovens knives marmalade noodles pickles pancakes curry",
            "trails summits glaciers huts ropes valleys boots ridges waterfalls maps",
            "novels poems shelves bookshops dictionaries chapters letters archives diaries readers",
            "chisels benches varnish drills clamps lathes plywood hinges drawers sandpaper",
            "ferries lighthouses sails tides anchors fishermen gulls compasses regattas piers",
            "violins rehearsals cellos quartets melodies drums concerts choirs pianos overtures",
            "stations timetables carriages bridges tunnels signals platforms conductors sleepers",
            "compilers databases queues parsers caches tests deadlines refactoring types indexes",
            "telescopes comets eclipses galaxies meteors orbits satellites craters horizons",
            "cheese apples flowers honey bargains baskets olives mushrooms coffee spices",
            "saddles chains punctures commutes brakes spokes panniers bells sprints tandems",
        ),
    )
)
"""Of each place."""
_TITLES = (
    "Notes on {adj} {things}",
    "What the {things} taught me",
    "{adj} {things} and {adj2} {others}",
    "In praise of {adj} {things}",
    "A {adj} day at the {place}",
    "How I lost my {adj} {things}",
    "Why {things} matter more than {others}",
    "Looking for {adj} {things}",
    "From {things} to {others}: a year at the {place}",
    "{number} things about {things}",
    "The {adj} {things} of {name}",
    "Ask me about {things}",
)
_SENTENCES = (
    "I had never thought much about {things} until the {adj} {place} opened next door.",
    "{name} says that {things} and {others} go together, and I have come to agree.",
    "It took {number} attempts, and the last one was almost {adj}.",
    "Nobody tells you how {adj} the {place} is before sunrise.",
    "We began with the {things} and left the {others} for another weekend.",
    "If you only keep one thing from this post, keep the {things}.",
    "The {adj} part is the waiting.",
    "There were {number} of us, and not one had brought {things}.",
    "My grandmother kept her {things} in a {adj} box behind the {others}.",
    "Some people swear by {adj2} {things}; I am not one of them.",
    "By the evening the {place} was {adj} again and the {things} were forgotten.",
    "{name} sent me a photograph of the {adj} {things}, and I have been smiling since.",
    "Next month I want to try it with {adj2} {others}.",
    "What would you have done with the {things}?",
    "The rule that I follow now: first the {things}, then the {others}, then tea.",
    "All in all it cost {number} euros and one {adj} afternoon.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A user about to be stored, who has lived through something already."""

    user: NewUser
    is_active: bool
    is_verified: bool


def demo_password(policy: PasswordPolicy) -> str:
    """Words at random, at least five, that make a password by `policy`. Raises `WeakPassword`
    when the policy lets no such password be.
    """
    words = [secrets.choice(_ADJECTIVES) for _ in range(5)]
    while len("-".join(words)) < policy.minimum:
        words.append(secrets.choice(_ADJECTIVES))
    password = "-".join(words)
    check_password(PasswordCandidate(password=password, email="demo@example.com", policy=policy))
    return password


def people(
    random: Random, count: int, *, number: int, since: datetime, until: datetime
) -> list[Person]:
    """So many, in the order in which they came; the first is an admin, the second a moderator,
    the third a member. Their addresses are numbered from `number` on.
    """
    start = [Role.ADMIN, Role.MODERATOR, Role.MEMBER]
    came = _moments(random, count, since, until)
    made = []
    for place in range(count):
        first, last = random.choice(_FIRST), random.choice(_LAST)
        role = start[place] if place < 3 else _role(random)
        staff = role is not Role.MEMBER
        draft = UserDraft(
            email=f"{first}.{last}.{number + place}@example.com".lower(),
            name=f"{first} {last}" if place < 3 or random.random() < 0.95 else None,
        )
        made.append(
            Person(
                user=register(draft, now=came[place], role=role),
                is_active=place < 3 or random.random() < 0.97,
                is_verified=place < 3 or staff or random.random() < 0.8,
            )
        )
    return made


def writings(
    random: Random, count: int, authors: Sequence[User], *, until: datetime
) -> Iterator[NewPost]:
    """So many posts, in the order in which they were written: by some more than by others, by none
    before they came, and one in ten a draft. `authors` stand in the order in which they came.
    """
    came = [author.created_at for author in authors]
    for at in _moments(random, count, came[0], until):
        # The square favours the first: they have been here for longer.
        author = authors[int(bisect_right(came, at) * random.random() ** 2)]
        draft = _draft(random)
        yield write(WriteContext(actor=author, draft=draft, now=at))


def voters(random: Random, users: int) -> list[int]:
    """Which of so many users vote for a post: mostly none or a few, now and then very many."""
    return random.sample(range(users), min(int(random.paretovariate(1.5)) - 1, users, 200))


def _moments(random: Random, count: int, since: datetime, until: datetime) -> list[datetime]:
    """In order, and more of them towards the end."""
    span = until - since
    return sorted(since + span * random.random() ** 0.6 for _ in range(count))


def _role(random: Random) -> Role:
    chance = random.random()
    return Role.ADMIN if chance < 0.005 else Role.MODERATOR if chance < 0.03 else Role.MEMBER


def _draft(random: Random) -> PostContent:
    place = random.randrange(len(_PLACES))
    sentences = random.sample(_SENTENCES, random.randrange(2, 7))
    title = random.choice(_TITLES).format_map(_words(random, place))
    text = [sentence.format_map(_words(random, place)) for sentence in sentences]
    middle = len(text) // 2
    content = " ".join(text[:middle]) + "\n\n" + " ".join(text[middle:])
    return PostContent(
        title=title[0].upper() + title[1:], content=content, published=random.random() > 0.1
    )


def _words(random: Random, place: int) -> dict[str, object]:
    things, others = _two(random, _THINGS[place])
    adjective, another = _two(random, _ADJECTIVES)
    return {
        "place": _PLACES[place],
        "things": things,
        "others": others,
        "adj": adjective,
        "adj2": another,
        "name": _FIRST[int(random.random() * len(_FIRST))],
        "number": int(3 + random.random() * 27),
    }


def _two(random: Random, words: Sequence[str]) -> tuple[str, str]:
    """Different ones. `random.sample` takes six times as long: a hundred thousand posts feel it."""
    one = int(random.random() * len(words))
    step = 1 + int(random.random() * (len(words) - 1))
    return words[one], words[(one + step) % len(words)]
