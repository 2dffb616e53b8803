import pytest

from xmodctl.core.visible import one_line, pieces, plain


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("zero\u200bwidth", "zero<U+200B>width"),
        ("right\u202eleft", "right<U+202E>left"),
        ("bell\u0007", "bell<U+0007>"),
        ("soft\u00adhyphen", "soft<U+00AD>hyphen"),
        ("half \ud800", "half <U+D800>"),
        ("a\u200db", "a<U+200D>b"),
        ("Hangul \u3164 filler", "Hangul <U+3164> filler"),
        ("\ufeffstart", "<U+FEFF>start"),
        ("carriage\rreturn", "carriage<U+000D>return"),
    ],
)
def test_a_character_nobody_sees_is_written_out(text, message):
    assert plain(text) == message


@pytest.mark.parametrize(
    "text", ["می\u200cخواهم", "क्\u200dष", "👩\u200d👧", "🏳️\u200d🌈", "tab\tand\nline", "नमस्ते", "é", "ก็"]
)
def test_what_shapes_letters_and_emoji_stays(text):
    assert plain(text) == text
    assert [piece.text for piece in pieces(text)] == [text]


def test_a_hidden_character_has_its_name():
    hidden = [piece for piece in pieces("a\u200bb\u0000") if piece.hidden]
    assert [(piece.text, piece.title) for piece in hidden] == [
        ("U+200B", "ZERO WIDTH SPACE"),
        ("U+0000", "control character"),
    ]


def test_one_line_has_no_breaks():
    assert one_line("a\n b\t\tc ") == "a b c"
