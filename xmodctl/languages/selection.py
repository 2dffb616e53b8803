"""From the value of `--langs` to the languages of a sweep."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from xmodctl.core.errors import UserError
from xmodctl.languages.resolution import Match, resolve, same
from xmodctl.languages.tags import fold, is_corpus, read


@dataclass(frozen=True)
class Target:
    """The data of one language, and the adapter that scores it.

    `data` is the task's code if the task lists the language, else the adapter's name, or the canonical code if that
    says more (`zh-HK`, `jv` of `jv=id_ID`). `note` is for the user.
    """

    data: str
    adapter: str
    note: str | None = None


@dataclass(frozen=True)
class Expansion:
    """The targets in the order of the selection, and the task's languages without an adapter: code and sentence."""

    targets: tuple[Target, ...]
    missing: tuple[tuple[str, str], ...] = ()


def expand(
    selection: str,
    adapters: Sequence[str],
    *,
    model: str,
    task_languages: Mapping[str, str | None],
    open_languages: bool = False,
    besides: Sequence[str] = (),
    mixtures: Collection[str] = (),
) -> Expansion:
    """Return the languages a selection names: `de,fr_XX`, `all`, `@task`, `all,-zh_TW`, `jv=id_ID`.

    `all` is the languages that model and task share, or every adapter if the task lists no languages; `@task` is the
    task's list. Languages of these two that the model lacks are reported as missing; other names must exist.
    Exclusions apply to the whole selection, wherever they are in it.

    Args:
        selection: Names and aliases between commas.
        adapters: The model's languages.
        model: The model's name in messages.
        task_languages: The benchmark's code -> X-MOD language, or None if the code is enough.
        open_languages: Whether the model accepts any language.
        besides: Languages that are scored without being selected; excluding one that is not selected is no error.
        mixtures: Those of `adapters` that are no language, and so not part of `all`.

    Raises:
        UserError: Parts of the selection cannot be used; the message lists all of them.
    """
    chooser = _Chooser(adapters, model, task_languages, open_languages, besides, mixtures)
    targets: list[Target] = []
    missing: dict[str, str] = {}
    mistakes: list[str] = []
    items = [item.strip() for item in selection.split(",") if item.strip()]
    included = [item for item in items if not item.startswith("-")]
    if not included:
        hint = f"all,{','.join(items)}" if items else "names between commas, all, or @task"
        raise UserError(f"{selection!r} selects no language; write {hint}")
    for item in included:
        try:
            if item.casefold() in ("all", "@task"):
                targets += chooser.listed(item.casefold(), missing)
            else:
                targets += chooser.named(item)
        except UserError as mistake:
            mistakes.append(str(mistake))
    kept = list(dict.fromkeys(targets))
    for item in (item for item in items if item.startswith("-")):
        try:
            excluded = chooser.excluded(item[1:].strip(), targets, missing)
        except UserError as mistake:
            mistakes.append(str(mistake))
        else:
            kept = [target for target in kept if target not in excluded]
            missing = {code: why for code, why in missing.items() if not same(code, item[1:])}
    if not mistakes and not kept:
        reasons = "".join(f"\n  {why}" for why in missing.values())
        mistakes.append(f"{selection!r} leaves no language to run{':' if reasons else ''}{reasons}")
    if mistakes:
        raise UserError(mistakes[0] if len(mistakes) == 1 else _all_of(mistakes))
    return Expansion(_distinct(kept), tuple(missing.items()))


def _all_of(mistakes: Sequence[str]) -> str:
    listed = "".join(f"\n  {mistake}" for mistake in dict.fromkeys(mistakes))
    return f"{len(mistakes)} parts of the selection cannot be used:{listed}"


def _distinct(targets: Sequence[Target]) -> tuple[Target, ...]:
    """Keep the first of each pair of data and adapter, with the first note of any of them."""
    by_pair: dict[tuple[str, str], Target] = {}
    for target in targets:
        first = by_pair.setdefault((target.data, target.adapter), target)
        if first.note is None and target.note:
            by_pair[target.data, target.adapter] = replace(first, note=target.note)
    return tuple(by_pair.values())


@dataclass(frozen=True)
class _Chooser:
    """Turns one item of a selection into its targets."""

    adapters: Sequence[str]
    model: str
    task_languages: Mapping[str, str | None]
    open_languages: bool
    besides: Sequence[str]
    mixtures: Collection[str]

    def listed(self, word: str, missing: dict[str, str]) -> list[Target]:
        if not self.task_languages:
            if word == "@task":
                raise UserError("@task cannot be used: the task lists no languages; name languages, or use `all`")
            return [Target(adapter, adapter) for adapter in self.adapters if adapter not in self.mixtures]
        targets = []
        for code in self.task_languages:
            try:
                match = self._of_the_task(code)
            except UserError as why:
                missing[code] = str(why)
            else:
                targets.append(Target(code, match.adapter, match.note))
        return targets

    def named(self, item: str) -> list[Target]:
        if item.startswith("@"):
            raise UserError(f"{item!r} is not a list of languages; the only one is @task")
        if "=" in item:
            return self._paired(item)
        is_adapter = any(fold(item) == fold(adapter) for adapter in self.adapters)
        if not is_adapter and (code := self._code_written_as(item)):
            match = self._of_the_task(code)
            return [Target(code, match.adapter, match.note)]
        match = self._resolve(item)
        codes = [code for code in self._codes_of(item) if self._adapter_of(code) == match.adapter]
        return [Target(data, match.adapter, match.note) for data in codes or [_data_of(item, match.adapter)]]

    def excluded(self, item: str, targets: Sequence[Target], missing: Mapping[str, str]) -> list[Target]:
        """Return the targets whose data the item names, or else those whose adapter it names."""
        codes = {fold(code) for code in [item, *self._codes_of(item)]}
        by_data = [target for target in targets if same(target.data, item) or fold(target.data) in codes]
        if by_data or any(same(code, item) for code in missing):
            return by_data
        if any(same(item, language) for language in self.besides):
            return []
        adapter = self._resolve(item).adapter
        by_adapter = [target for target in targets if target.adapter == adapter]
        if not by_adapter:
            raise UserError(f"-{item} excludes {adapter}, which the rest of the selection does not contain; remove it")
        return by_adapter

    def _paired(self, item: str) -> list[Target]:
        data, _, adapter = (part.strip() for part in item.partition("="))
        if not data or not adapter or "=" in adapter:
            raise UserError(f"{item!r} is not of the form DATA=ADAPTER, for example jv=id_ID")
        match = self._resolve(adapter)
        written = self._code_written_as(data)
        codes = [written] if written else self._codes_of(data)
        if codes:
            return [Target(code, match.adapter, match.note) for code in codes]
        if named := next((adapter for adapter in self.adapters if fold(adapter) == fold(data)), None):
            return [Target(named, match.adapter, match.note)]  # as without `=`
        tag = read(data)
        if tag is None:
            raise UserError(
                f"{data!r} in {item!r} is neither a language of the task nor the code or name of a language"
            )
        return [Target(data if tag.corpus else tag.code, match.adapter, match.note)]

    def _resolve(self, text: str) -> Match:
        return resolve(text, self.adapters, model=self.model, open_languages=self.open_languages)

    def _of_the_task(self, code: str) -> Match:
        """Resolve a code of the task through the X-MOD language that it declares, with the note about the code."""
        declared = self.task_languages[code]
        if declared is None:
            match = self._resolve(code)
            return replace(match, note=None) if is_corpus(code) else match
        match = self._resolve(declared)
        if is_corpus(code):
            return match
        try:
            plain = self._resolve(code)
        except UserError:  # the code is not a language: hence the declaration
            return match
        return plain if plain.adapter == match.adapter else match

    def _adapter_of(self, code: str) -> str | None:
        try:
            return self._of_the_task(code).adapter
        except UserError:  # the model lacks this language of the task, and another one is wanted
            return None

    def _code_written_as(self, text: str) -> str | None:
        return next((code for code in self.task_languages if fold(code) == fold(text)), None)

    def _codes_of(self, text: str) -> list[str]:
        if is_corpus(text):
            return []  # a corpus that is not one of the task's
        return [code for code, declared in self.task_languages.items() if same(text, declared or code)]


def _data_of(text: str, adapter: str) -> str:
    """Return the adapter's name if it says as much about the data as the user did, else the canonical code."""
    wanted, offered = read(text), read(adapter)
    if wanted is None or offered is None:
        return adapter
    if wanted.corpus:
        return text.strip()
    says_more = wanted.region not in (None, offered.region) or wanted.variety not in (wanted.language, offered.variety)
    return wanted.code if says_more or not same(text, adapter) else adapter
