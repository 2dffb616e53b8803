"""Whether a text is in the language it should be in."""

import re

import pytest

from xmodctl.languages.text_check import cautions

GERMAN = ["Das Wasser ist heute kalt, und die Kinder gehen nicht in den See.", "Der Mann hat ein Buch für seine Frau."]
FINNISH = ["Hän on kotona, mutta me olemme vielä matkalla.", "Se ei ole niin vaikeaa kuin sinä luulet, joka päivä."]
ZULU = ["Ngiyabonga kakhulu ngosizo lwakho.", "Umuntu ngumuntu ngabantu.", "Abantwana bayadlala phandle."]


@pytest.mark.parametrize(
    ("language", "texts", "caution"),
    [
        ("zu_ZA", ZULU, None),
        ("de_CH", GERMAN, None),
        ("zu_ZA", GERMAN, r"5\d% of the words are frequent in German, 0% in Zulu; is this the right text\?"),
        ("mt_MT", GERMAN, r"5\d% of the words are frequent in German; is this the right text\?"),
        ("xh_ZA", FINNISH, "frequent in Finnish, 0% in Xhosa"),
        ("et_EE", FINNISH, r"frequent in Finnish, \d+% in Estonian"),
        ("lb_LU", GERMAN, None),  # close relatives, one without a list, cannot be told apart
        ("am_ET", ZULU, r"0% of the letters are in the usual script of Amharic \(ethiopic\), and 100% are latin"),
        ("zu_ZA", ["12 34"], "the text contains no letters"),
    ],
)
def test_text_that_does_not_look_like_the_language_is_reported(language, texts, caution):
    reported = cautions(language, texts)
    assert reported == () if caution is None else re.search(caution, reported[0])
