"""Markup is found in text and removed from it, also where it runs over several lines."""

from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmodctl.core.markup import MARKUP, MOST_OPEN, MarkupRemover, without_markup


def stripped(*lines: str) -> list[str]:
    remover = MarkupRemover()
    complete = [part for line in lines for part in remover.lines(line, begins=True)]
    return [" ".join(line.split()) for line in [*complete, *remover.rest()] if line.strip()]


@pytest.mark.parametrize(
    "text",
    [
        '<seg id="b.MAT.1.1" type="verse">', "a <b>word</b>", "line<br/>", "</p>", "<!-- hidden -->", "<!DOCTYPE html>",
        "<?xml version='1.0'?>", '<a href="x"', "R&amp;D", "it&#8217;s", "&#x2019;", "&nbsp;", "a [[link]]",
        "{{template|x}}", "'''bold'''", "<![CDATA[x]]>",
    ],
)  # fmt: skip
def test_markup_is_found(text):
    assert MARKUP.search(text)


@pytest.mark.parametrize(
    "text",
    [
        "a < b", "I <3 you", "mail <name@host.org>", "see <https://host.org/a>", "if a<b and c>d", "[1] and [2]",
        "AT&T; R&D", "x <- 3", "f(x) = {y | y > 1}", "1 <= n << 2 >= 0", "{{}}",
        "{{1,2},{3,4}}", "see http://host.org/?a=1&copy=2&reg=3", "10'' by 6'' wide", "x[1][2] = {0}", "#hashtag",
        "if (a<b && c>d)", "a == b == c", "{|x| > 1}", "Tom & Jerry &",
    ],
)  # fmt: skip
def test_ordinary_text_is_not_taken_for_markup_and_stays_as_it_is(text):
    assert not MARKUP.search(text)
    assert stripped(text, "next") == [text, "next"]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["text <a", 'href="x" class="y"> more</a> end'], ["text more end"]),
        (["<p>first</p><p>second<br>third w<b>or</b>d</p>"], ["first", "second", "third word"]),
        (["<w>a</w><w>b</w>"], ["a b"]),
        (["&lt;p&gt;text&lt;/p&gt; R&amp;amp;D &#8217;"], ["text", "R&D ’"]),
        (["before", "<script>", "if (a < 1) {}", "</script>after"], ["before", "after"]),
        (["<!-- a", "", "b -->c"], ["c"]),
        (["fact<ref name='a'>source</ref>s"], ["fact s"]),
        (["{{Infobox", "| a = {{b|c}}", "}}text"], ["text"]),
        (["{| class='x'", "| cell", "|}", "text"], ["text"]),
        (["[[Target|label]]s of [[things]] [[Datei:x.jpg|thumb|a [[b]] c]]"], ["labels of things"]),
        (["== Head ==", "'''Bold''' and ''italic''", "[https://host.org name]"], ["Head", "Bold and italic", "name"]),
        (["unclosed <b", "and so on"], ["unclosed <b", "and so on"]),
        (["open {{", "x", "y"], ["open {{", "x", "y"]),
        (["a <!-- b", "c"], ["a <!-- b", "c"]),
        (["a <!-- x --> b <!-- c", "d --> e"], ["a b e"]),
        (['<a title="x > y">label</a> <img src="' + "A" * 3_000 + '"> end'], ["label end"]),
        (["<description><![CDATA[First line", "second <b>line</b>]]></description>"], ["First line", "second line"]),
        (["&lt;ref&gt;a source", "of it&lt;/ref&gt;text"], ["text"]),
        (["Donau&shy;dampf&#173;schiff &copy; &unknown; &notit;"], ["Donaudampfschiff © &unknown; &notit;"]),
        (["<gallery>", "File:x.jpg|caption", "</gallery>text"], ["text"]),
        (["{| class='x'", "| a", "{|", "| b", "|}", "| c", "|}", "text"], ["text"]),
        (["{{a|{{{1|b}}}|c}} text"], ["text"]),
        (["[[w:Target|label]]s [[Category:Xs|sorted as]] [[Datei:x.jpg|caption]] [[de:Ziel]]"], ["labels"]),
        (["* item", "** second", "# third", "__NOTOC__", "; term"], ["item", "second", "third", "term"]),
    ],
)
def test_markup_is_removed(lines, expected):
    assert stripped(*lines) == expected


def test_what_never_ends_is_text_and_holds_up_only_so_much():
    remover = MarkupRemover()
    begun = list(remover.lines("{{ never closed", begins=True))
    while not begun:
        assert len(remover.waiting) < MOST_OPEN
        begun = list(remover.lines("a line of text " * 50, begins=True))
    assert begun[0] == "{{ never closed"
    assert len(begun) > 10


def test_a_tag_that_a_long_line_was_cut_in_is_removed():
    remover = MarkupRemover()
    pieces = [("word <a hr", True), ('ef="x">more</a>', False)]
    assert [line for piece, begins in pieces for line in remover.lines(piece, begins=begins)] == ["word more"]


def test_one_text_of_several_lines_is_stripped_as_a_whole():
    assert without_markup('a <i\ntitle="x">b</i>').split() == ["a", "b"]


@pytest.mark.parametrize(
    "part",
    ["<!-- ", "{{a ", "{{", "[[a ", "[[a|", "<a ", "<a b=c ", "''a ", "'", "&amp", "&amp;amp;", "\n{|", "{| x\n",
     "<script> ", "<ref name=a>", "== a ", "=", "[http://a ", "[//", "\n", " ", "<a\n", "<![CDATA[",
     "}}", "{ {{ ", "<a title='"],
)  # fmt: skip
def test_removal_takes_time_in_proportion_to_the_text_whatever_it_is(part):
    text = part * (100_000 // len(part))
    begin = process_time()
    MARKUP.search(text[:2_000])
    without_markup(text)
    stripped(*(text[start : start + 2_000] for start in range(0, len(text), 2_000)))
    assert process_time() - begin < 60  # a quadratic removal takes minutes


PARTS = st.sampled_from(
    ["<!--", "-->", "<p>", "</p>", "<ref>", "</ref>", "{{", "}}", "{", "}", "\n{|", "\n|}", "[[", "]]", "|", "''",
     "'''", "&amp;", "&lt;", "&", "\n", "\n", " ", "word", "<script>", "</script>", "==", "* ", "[http://a "]
)  # fmt: skip


@given(st.lists(PARTS, max_size=30).map("".join))
def test_a_text_in_lines_is_stripped_like_the_whole(text):
    assert " ".join(stripped(*text.split("\n"))).split() == without_markup(text).split()
