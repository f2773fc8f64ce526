import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.search import QUERY_MAX, Term, terms_of


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("red fox", [Term(("red",)), Term(("fox",))]),
        ('"red fox" den', [Term(("red", "fox")), Term(("den",))]),
        ("fo*", [Term(("fo",), prefix=True)]),
        ("red-brown fo*", [Term(("red", "brown")), Term(("fo",), prefix=True)]),
        ("e-mai*", [Term(("e", "mai"), prefix=True)]),
        ('"never closed', [Term(("never", "closed"))]),
        ('fox"red den"', [Term(("fox",)), Term(("red", "den"))]),
        ('"fo*"', [Term(("fo",))]),
        ("*fox", [Term(("fox",))]),
        ("fox NOT den", [Term(("fox",)), Term(("NOT",)), Term(("den",))]),
        ("title:fox", [Term(("title", "fox"))]),
        ("e\u0301té 山田 ١٢", [Term(("e\u0301té",)), Term(("山田",)), Term(("١٢",))]),
        ("it's", [Term(("it", "s"))]),
        ("fox\0den", [Term(("fox", "den"))]),
    ],
)
def test_a_query_has_words_prefixes_and_phrases(query: str, terms: list[Term]) -> None:
    assert list(terms_of(query)) == terms


@pytest.mark.parametrize("query", ["", " ", '"', '""', "*", "&|!():<->", "'; --", "\0", "🦊 ☃"])
def test_a_query_without_a_word_has_no_terms(query: str) -> None:
    assert terms_of(query) == ()


def test_a_query_is_cut_off_at_its_maximum_length() -> None:
    assert terms_of("a" * (QUERY_MAX + 1)) == (Term(("a" * QUERY_MAX,)),)


@given(st.text(max_size=600))
def test_every_input_gives_words_of_letters_digits_and_marks(query: str) -> None:
    for term in terms_of(query):
        assert term.words
        for word in term.words:
            assert not set(word) & set("'\"\\*:&|!<>() \0")
