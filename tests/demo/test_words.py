from datetime import timedelta
from random import Random

import pytest

from demo.words import demo_password, people, voters, writings
from domain.passwords import PasswordCandidate, PasswordPolicy, WeakPassword, check_password
from domain.users import Role
from tests.factories import UserFactory
from tests.fakes.clock import NOON

YEAR_AGO = NOON - timedelta(days=365)


def test_people_come_one_after_the_other_with_addresses_of_their_own() -> None:
    made = people(Random(1), 200, number=41, since=YEAR_AGO, until=NOON)

    came = [person.user.created_at for person in made]
    assert came == sorted(came)
    assert YEAR_AGO <= came[0] < came[-1] <= NOON
    assert len({person.user.email for person in made}) == 200
    assert made[0].user.email.endswith(".41@example.com")


def test_the_first_three_have_each_role_and_may_log_in() -> None:
    for seed in range(30):
        first = people(Random(seed), 3, number=1, since=YEAR_AGO, until=NOON)

        assert [p.user.role for p in first] == [Role.ADMIN, Role.MODERATOR, Role.MEMBER]
        assert all(person.is_active and person.user.name for person in first)


def test_nobody_writes_before_they_came_and_all_is_in_order() -> None:
    authors = [UserFactory.build(created_at=YEAR_AGO + timedelta(days=n)) for n in range(0, 365, 5)]
    came = {author.id: author.created_at for author in authors}

    posts = list(writings(Random(1), 500, authors, until=NOON))

    written = [post.created_at for post in posts]
    assert written == sorted(written)
    assert all(came[post.owner_id] <= post.created_at <= NOON for post in posts)
    assert len({post.owner_id for post in posts}) > len(authors) / 2
    assert 0 < sum(not post.content.published for post in posts) < 100


def test_hardly_two_posts_are_the_same() -> None:
    posts = list(writings(Random(1), 500, [UserFactory.build(created_at=YEAR_AGO)], until=NOON))

    assert len({post.content.content for post in posts}) > 490
    assert len({post.content.title for post in posts}) > 400
    assert not any("{" in post.content.title + post.content.content for post in posts)


@pytest.mark.parametrize("users", [1, 3, 1000])
def test_nobody_votes_twice(users: int) -> None:
    for seed in range(200):
        chosen = voters(Random(seed), users)

        assert len(set(chosen)) == len(chosen)
        assert set(chosen) <= set(range(users))


@pytest.mark.parametrize("minimum", [10, 12, 64])
def test_the_password_is_one_by_the_policy_and_another_each_time(minimum: int) -> None:
    policy = PasswordPolicy(minimum=minimum)

    passwords = {demo_password(policy) for _ in range(50)}

    assert len(passwords) == 50
    for password in passwords:
        check_password(
            PasswordCandidate(password=password, email="anna@example.com", policy=policy)
        )


def test_a_policy_that_no_password_meets_is_reported() -> None:
    with pytest.raises(WeakPassword):
        demo_password(PasswordPolicy(is_common=lambda _: True))
