"""Runs of equal tags, by which XTREME's script scores parts of speech."""

from collections.abc import Sequence

from xmodctl.kinds.spans import Span


def tag_runs(tags: Sequence[str]) -> set[Span]:
    """Return the runs of a sentence's plain tags as XTREME's `evaluate.py` counts them.

    It passes plain tags to `f1_score` of seqeval, which reads them as chunk tags: the first letter is the mark and the
    whole tag is the type. So a run of equal tags is one chunk, except that a tag that begins with B, E, or S begins a
    chunk at each word, as does one with I after a tag with E, O, or S, and that O and a tag that begins with `.` or O
    begin none by their type.

    Source: `get_entities`, `start_of_chunk`, and `end_of_chunk` of seqeval 0.0.12, the version of 2020, when XTREME was
    published. From version 1.0 on, seqeval drops the first letter of a type, so that CCONJ and SCONJ are one.
    """
    runs: set[Span] = set()
    begin, before, mark_before = 0, "", "O"
    for word, tag in enumerate([*tags, "O"]):
        mark, type_ = tag[0], tag.rpartition("-")[2]
        differs = type_ != before
        if mark_before in "ES" or (mark_before in "BI" and mark in "BOS") or (mark_before not in ".O" and differs):
            runs.add((before, begin, word))
        if mark in "BS" or (mark_before in "EOS" and mark in "EI") or (mark not in ".O" and differs):
            begin = word
        before, mark_before = type_, mark
    return runs
