import json

from xmodctl.core.json_text import json_text


def test_numbers_that_json_does_not_have_become_null():
    value = {"a": float("nan"), "b": [1.5, float("inf")], "c": ("ä", float("-inf")), "d": {"e": None}}
    assert json_text(value) == '{"a": null, "b": [1.5, null], "c": ["ä", null], "d": {"e": null}}'


def test_other_values_are_written_as_the_standard_library_writes_them():
    value = {"a": 0.1 + 0.2, "b": [1, True, None, "é"], "c": {}}
    for indent in (None, 2):
        assert json_text(value, indent=indent) == json.dumps(value, indent=indent, ensure_ascii=False)
