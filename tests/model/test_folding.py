"""A mixture is one wider adapter that adds the weighted sum of what its parts add, in every form of a batch."""

import types

import pytest
import torch
import transformers
from geometries import GEOMETRIES
from test_exporting import AUTO, first

from xmodctl import model
from xmodctl.core.errors import UserError
from xmodctl.model.folding import fold, widen, width_of

MIXED = "3*de_DE+7*fr_XX"
KINDS = ("sequence", "tokens", "span", "choice")
WEIGHTS = {"de_DE": 0.3, "fr_XX": 0.7}
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def summed_the_long_way(stock, weights):
    """Make every layer of a stock model add the weighted sum of several adapters' outputs, whatever `lang_ids` say."""

    def lang_adapter(self, lang_ids, hidden_states):
        residual = hidden_states
        if self.adapter_layer_norm is not None:
            hidden_states = self.adapter_layer_norm(hidden_states)
        elif self.adapter_reuse_layer_norm:
            hidden_states = self.LayerNorm(hidden_states)
        if self.ln_before_adapter:
            residual = hidden_states
        return residual + sum(weight * self.adapter_modules[name](hidden_states) for name, weight in weights.items())

    for layer in getattr(stock, "roberta", stock).encoder.layer:
        layer.output.lang_adapter = types.MethodType(lang_adapter, layer.output)
    return stock.eval()


def mixture(ours, weights=WEIGHTS, name=MIXED):
    """Give a model the mixture under a name."""
    ours.put_adapter(name, fold(name, [(weight, part, ours.adapter(part)) for part, weight in weights.items()]))
    return name


def inputs_of(head, batch):
    return {name: value.view(2, 2, 12) for name, value in batch.items()} if head == "choice" else batch


def scores_of(output):
    """Return the logits of any head; the span head returns its two per token separately."""
    spans = (output.start_logits, output.end_logits) if "start_logits" in output else None
    return torch.stack(spans, -1) if spans else output.logits


def outputs(module, batch, **more):
    """Return the logits of real tokens and samples: what padding gives is not defined."""
    with torch.inference_mode():
        output = module(**batch, **more)
    kept = scores_of(output)
    if kept.shape[:2] == batch["input_ids"].shape and kept.dim() == 3 and batch["input_ids"].dim() == 2:
        return kept[batch["attention_mask"].bool()]
    return kept


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("head", KINDS)
def test_a_folded_mixture_gives_the_weighted_sum_of_its_parts(head, geometry, checkpoint, batch):
    stock, folder = checkpoint(f"Xmod{AUTO[head].removeprefix('AutoModel')}", **GEOMETRIES[geometry])
    weights = {"de_CH": 0.3, "gsw": 0.7} if "de_DE" not in stock.config.languages else WEIGHTS
    batch = inputs_of(head, batch)
    language = torch.zeros(len(batch["input_ids"]) if head != "choice" else 1, dtype=torch.int64)
    expected = outputs(summed_the_long_way(stock, weights), batch, lang_ids=language)
    ours = model.load(model.find(str(folder)), head, [next(iter(weights))])
    ours.use(mixture(ours, weights))
    assert torch.allclose(outputs(ours.module, batch), expected, **CLOSE)  # padded
    ours.leave_padding_out()
    assert torch.allclose(outputs(ours.module, batch), expected, **CLOSE)  # packed
    ours.use(next(iter(weights)))
    assert not torch.allclose(outputs(ours.module, batch), expected, **CLOSE)


@pytest.mark.parametrize("head", KINDS)
def test_rows_of_a_mixture_and_of_narrower_adapters_share_a_batch(head, checkpoint, batch):
    _, folder = checkpoint("XmodForMaskedLM")
    batch = inputs_of(head, batch)
    rows = len(batch["input_ids"])
    ours = model.load(model.find(str(folder)), head, ["en_XX"], seed=3)
    mixture(ours)
    ours.leave_padding_out()
    ours.swap(["en_XX", MIXED])
    names = ["en_XX", MIXED] * (rows // 2)
    together = scores_of(ours.module(**batch, lang_ids=ours.ids(names)))
    for number, name in enumerate(names):
        ours.activate(name)
        alone = scores_of(ours.module(**{key: value[number : number + 1] for key, value in batch.items()}))
        length = alone.shape[1]
        if head in ("tokens", "span"):
            length = int(batch["attention_mask"][number].sum())
        assert torch.allclose(together[number, :length], alone[0, :length], **CLOSE)


@pytest.mark.parametrize("head", KINDS)
def test_transformers_alone_computes_a_mixture_beside_other_adapters(head, checkpoint, batch, tmp_path):
    _, folder = checkpoint("XmodForMaskedLM", adapter_reduction_factor=5)  # 32 // 5 = 6 units
    batch = inputs_of(head, batch)
    ours = model.load(model.find(str(folder)), head, ["en_XX"], seed=3)
    mixture(ours)
    model.export(ours, None, tmp_path / "out", ["en_XX", MIXED])
    stock = getattr(transformers, AUTO[head]).from_pretrained(tmp_path / "out").eval()
    assert stock.config.hidden_size // stock.config.adapter_reduction_factor == 16
    for number, name in enumerate(("en_XX", MIXED)):
        ours.use(name)
        ids = torch.tensor([number]) if head == "choice" else torch.full((4,), number)
        assert torch.allclose(first(stock(**batch, lang_ids=ids)), first(ours.module(**batch)), rtol=1e-4, atol=1e-5)
    again = model.load(model.find(str(tmp_path / "out")), head, [MIXED])
    assert torch.allclose(first(again.module(**batch)), first(ours.module(**batch)), rtol=1e-4, atol=1e-5)


def test_a_mixture_that_no_stock_folder_has_room_for_is_refused(checkpoint, tmp_path):
    _, folder = checkpoint("XmodForMaskedLM")  # 16 units of 32
    ours = model.load(model.find(str(folder)), "none", ["en_XX"])
    mixture(ours, dict.fromkeys(("en_XX", "de_DE", "fr_XX"), 1 / 3))
    with pytest.raises(UserError, match=r"as wide as 3 adapters.*has room for 2: mix fewer"):
        model.export(ours, None, tmp_path / "out", [MIXED])
    assert not (tmp_path / "out").exists()


def test_a_mixture_is_replaced_by_one_of_another_width_while_it_is_in_use(checkpoint, batch):
    _, folder = checkpoint("XmodForMaskedLM")
    ours = model.load(model.find(str(folder)), "masked-lm", ["en_XX"])
    ours.use(mixture(ours))
    two = outputs(ours.module, batch)
    mixture(ours, dict.fromkeys(("en_XX", "de_DE", "fr_XX"), 1 / 3))
    three = outputs(ours.module, batch)
    assert not torch.allclose(two, three)
    assert not any(parameter.requires_grad for parameter in ours.module.parameters())
    ours.swap(["en_XX"])
    ours.use(MIXED)
    assert torch.equal(outputs(ours.module, batch), three)
    mixture(ours)
    assert torch.equal(outputs(ours.module, batch), two)


def test_units_that_are_added_to_an_adapter_add_nothing(checkpoint):
    _, folder = checkpoint("XmodForMaskedLM")
    adapter = model.read_adapter(model.find(str(folder)), "de_DE")
    wide = widen(adapter, "de_DE", 40)
    assert width_of(wide, "de_DE") == 40
    assert widen(adapter, "de_DE", 16).keys() == adapter.keys()
    name = "roberta.encoder.layer.1.output.adapter_modules.de_DE.dense2.weight"
    assert torch.equal(wide[name][:, :16], adapter[name])
    assert not wide[name][:, 16:].any()


def test_tensors_of_a_width_that_no_mixture_has_are_refused(checkpoint):
    _, folder = checkpoint("XmodForMaskedLM")
    ours = model.load(model.find(str(folder)), "none", ["en_XX"])
    for width in (17, 40):
        odd = widen(ours.adapter("en_XX"), "en_XX", width)
        with pytest.raises(UserError, match="does not have the shape"):
            ours.put_adapter("en_XX", odd)
    assert ours.adapter_shapes("en_XX") == {name: tuple(tensor.shape) for name, tensor in ours.adapter("en_XX").items()}
