"""`xmodctl.adapters` in Python: the command group's functions, with the command line's meanings."""

import subprocess
import sys

import pytest
from test_adapters import zulu

from xmodctl import adapters, model
from xmodctl.adapters.packages import write_package
from xmodctl.core.errors import UserError


@pytest.fixture
def base(tiny_model, tmp_path, monkeypatch) -> model.Source:
    monkeypatch.setenv("XMODCTL_CACHE", str(tmp_path / "cache"))
    return model.find(str(tiny_model))


def test_an_adapter_goes_from_a_model_through_the_store_into_another_model(base, tmp_path):
    german = adapters.export(base.name, "German", str(tmp_path / "de"))
    assert (german.language, german.folder) == ("de_DE", tmp_path / "de")
    assert adapters.list().packages == ()
    stored = adapters.import_(str(tmp_path / "de"))
    assert adapters.list().packages == adapters.list(stored.folder.parent).packages == (stored,)
    write_package(tmp_path / "zu", base, "zu_ZA", zulu(base), {})
    merged = adapters.merge([str(tmp_path / "zu"), "de"], str(tmp_path / "merged"), model=base.name)
    assert (merged.added, merged.replaced) == (("zu_ZA",), ("de_DE",))
    assert set(merged.languages) == {*base.languages, "zu_ZA"}
    assert adapters.verify(tmp_path / "de", str(tmp_path / "merged")) == german
    assert adapters.export(tmp_path / "merged", "zu", tmp_path / "again").sha256 != german.sha256


def test_a_folder_of_packages_is_listed_with_what_cannot_be_used(base, tmp_path):
    package = write_package(tmp_path / "all" / "zu", base, "zu_ZA", zulu(base), {})
    (tmp_path / "all" / "broken").mkdir()
    (tmp_path / "all" / "broken" / "adapter.json").write_text("{}")
    listing = adapters.list(str(tmp_path / "all"))
    assert listing.packages == (package,)
    assert "broken" in listing.problems[0]
    with pytest.raises(UserError, match="is not a folder"):
        adapters.list(tmp_path / "absent")


def test_one_adapter_may_be_given_without_a_list(base, tmp_path):
    write_package(tmp_path / "zu", base, "zu_ZA", zulu(base), {})
    assert adapters.merge(tmp_path / "zu", tmp_path / "merged", model=base.name).added == ("zu_ZA",)


def test_importing_the_functions_loads_no_heavy_library_and_shows_only_them():
    program = (
        "import sys, xmodctl.adapters as adapters\n"
        "for name in adapters.__all__:\n    getattr(adapters, name)\n"
        "assert dir(adapters) == sorted(adapters.__all__), dir(adapters)\n"
        "assert not {'torch', 'transformers', 'datasets'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
