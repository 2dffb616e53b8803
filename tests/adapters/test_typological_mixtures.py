"""Weights of mixtures by the typological distance of languages: from the library's distances to rows and packages."""

import json
import logging
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from command_line import refused, run

from xmodctl import UserError, model
from xmodctl.adapters.mixtures import check_record, described
from xmodctl.adapters.packages import read_package
from xmodctl.adapters.typological_mixtures import in_tenths, mixture_by_typology
from xmodctl.languages import typology
from xmodctl.languages.typology import typological_distances

DISTANCES = {"swa": 0.2, "eng": 0.6, "fra": 0.45, "deu": 0.8, "zho": 0.5}


class FakeDatabase:
    """Sixty features of a few languages, all known but those of German, of which it knows ten."""

    def __init__(self):
        logging.basicConfig(level=logging.INFO)
        logging.info("reading")
        codes = [*DISTANCES, "zul", "xho", "est", "ekk"]
        known = np.ones((len(codes), 60, 2))
        known[codes.index("deu"), 10:] = -1
        known[codes.index("xho"), 10:] = -1
        known[codes.index("est"), 55:] = -1
        self.langs = [[], np.array(codes)]
        self.data = [None, known]
        self.asked = []

    def new_distance(self, kind, codes):
        assert kind == "featural"
        self.asked.append(codes)
        return np.float64(DISTANCES.get(codes[1], 0.7))


@pytest.fixture
def database(monkeypatch) -> FakeDatabase:
    """Put a library with known distances in place of the real one."""
    shared = FakeDatabase()
    library = ModuleType("urielplus.urielplus")
    library.URIELPlus = lambda: shared
    monkeypatch.setitem(sys.modules, "urielplus", ModuleType("urielplus"))
    monkeypatch.setitem(sys.modules, "urielplus.urielplus", library)
    monkeypatch.setattr(typology.metadata, "version", lambda name: "9.9")
    typology._database.cache_clear()
    yield shared
    typology._database.cache_clear()


def test_languages_of_which_few_features_are_known_are_left_out(database):
    assert typological_distances("zu", ["sw_KE", "en_XX", "de_DE", "xx", "mi"]) == {"sw_KE": 0.2, "en_XX": 0.6}
    assert ["zul", "deu"] not in database.asked
    with pytest.raises(UserError, match="xh has too few typological features in URIEL"):
        typological_distances("xh", ["sw_KE"])


def test_a_macrolanguage_is_the_variety_of_which_most_is_known(database):
    assert typological_distances("sw", ["et"]) == {"et": 0.7}
    assert database.asked == [["swa", "ekk"]]


@pytest.mark.parametrize(
    ("similarities", "shares"),
    [((0.8, 0.6, 0.5, 0.4), [3, 3, 2, 2]), ((1, 1, 1), [4, 3, 3]), ((0.0, 0.0), [5, 5]), ((0.3,), [10])],
)
def test_shares_are_as_near_as_possible_to_proportional(similarities, shares):
    assert in_tenths(similarities) == shares


def test_a_row_says_that_typology_chose_the_weights_and_its_name_scores_the_same_again(trained, database):
    folder, _ = trained
    words = ("eval-transfer", "--run", folder, "--langs", "sw=mix", "--mix-by", "typology", "--json")
    result = run(*words)
    assert result.exit_code == 0, result.output
    row = next(row for row in json.loads(result.stdout)["rows"] if row["language"] == "sw")
    record = row["mixture"]
    assert row["adapter"] == record["name"]
    assert record["name"].endswith("@typology")
    assert "sw_KE" not in record["weights"], "its own adapter takes no part"
    assert sum(record["weights"].values()) == pytest.approx(1)
    assert record["details"]["library"] == "URIEL+ 9.9, featural distance"
    check_record(record)
    again = run("eval-transfer", "--run", folder, "--langs", f"sw={record['name']}")
    assert again.stderr.count("scored before") == 2, again.output
    shown = " ".join(run("report", "--run", folder, "--format", "markdown").output.split())
    assert "weights chosen by the typological distance of the languages (URIEL+ 9.9, featural distance)" in shown
    assert "transductive" not in shown


def test_the_nearest_languages_get_the_largest_weights(tiny_model, database):
    notices = []
    mixture = mixture_by_typology("zu", model.find(str(tiny_model)), [], notices.append)
    assert next(iter(mixture.weights)) == "sw_KE"
    assert list(mixture.details["distances"].values()) == sorted(mixture.details["distances"].values())
    assert mixture.language in notices[0].text
    assert "by the typological distance" in described(mixture.to_json())


def test_a_package_of_a_mixture_by_typology_needs_no_text(tiny_model, database, tmp_path):
    words = ("adapters", "mix", "zu=mix", "--model", tiny_model, "--out", tmp_path / "zu", "--mix-by")
    assert "remove --text" in refused(run(*words, "typology", "--text", "zu.txt"))
    assert "needs a run and its test rows" in refused(run(*words, "entropy"))
    assert "text, entropy, typology" in refused(run(*words, "typologie"))
    result = run(*words, "typology")
    assert result.exit_code == 0, result.output
    assert read_package(tmp_path / "zu").facts["mixture"]["by"] == "typology"


def test_typology_and_text_exclude_each_other(trained):
    words = ("eval-transfer", "--run", trained[0], "--langs", "sw=mix", "--mix-by", "typology", "--mix-text", "sw=x")
    assert "--mix-by typology chooses weights without text; remove --mix-text" in refused(run(*words))


def test_the_library_is_an_extra_and_its_logging_is_kept_quiet(monkeypatch, database):
    root = logging.getLogger()
    handlers = root.handlers[:]
    typological_distances("zu", ["sw"])
    assert root.handlers == handlers
    typology._database.cache_clear()
    monkeypatch.setitem(sys.modules, "urielplus.urielplus", None)
    with pytest.raises(UserError, match=r"pip install 'xmodctl\[typology\]'"):
        typological_distances("zu", ["sw"])


def test_a_library_that_cannot_write_its_files_is_explained(monkeypatch, database):
    typology._database.cache_clear()

    def denied():
        raise PermissionError(13, "Permission denied", "features.npz")

    monkeypatch.setattr(sys.modules["urielplus.urielplus"], "URIELPlus", denied)
    with pytest.raises(UserError, match=r"cannot prepare its data.*run the command once as a user who may write there"):
        typological_distances("zu", ["sw"])


def test_no_adapters_or_none_of_a_known_language_is_one_sentence(database):
    nothing = SimpleNamespace(name="mini", languages=("sw_KE",), placeholders=frozenset({"sw_KE"}))
    with pytest.raises(UserError, match="mini has no trained adapters to mix; add some with --adapter DIR"):
        mixture_by_typology("zu", nothing, [], print)
    unknown = SimpleNamespace(name="odd", languages=("de_DE",), placeholders=frozenset())
    with pytest.raises(UserError, match=r"too few features of the languages that have adapters \(de_DE\)"):
        mixture_by_typology("zu", unknown, [], print)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the library's own
def test_the_real_library_holds_that_zulu_is_nearest_to_swahili():
    pytest.importorskip("urielplus")
    typology._database.cache_clear()
    distances = typological_distances("zu", ["en_XX", "sw_KE", "hi_IN", "et_EE", "zu_ZA"])
    assert min(distances, key=distances.get) == "zu_ZA"
    assert distances["zu_ZA"] == 0
    assert 0 < distances["sw_KE"] < distances["en_XX"] < 1
    typology._database.cache_clear()
