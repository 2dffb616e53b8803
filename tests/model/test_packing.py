"""Leaving padding and unread tokens out changes no result."""

import pytest
import torch
from geometries import GEOMETRIES

from xmodctl import model
from xmodctl.model.packing import pack
from xmodctl.model.routing import Uniform, grouped

LENGTHS = [9, 4, 12, 7, 4, 12, 1, 9]


def padded(width=12, lengths=LENGTHS):
    ids = torch.randint(3, 120, (len(lengths), width), generator=torch.Generator().manual_seed(1))
    mask = (torch.arange(width)[None] < torch.tensor(lengths)[:, None]).long()
    return {"input_ids": ids.masked_fill(mask == 0, 1), "attention_mask": mask}


@pytest.fixture
def both(checkpoint, request):
    """Return one checkpoint loaded twice: packing as it comes, and never."""
    geometry = getattr(request, "param", "base")
    _, folder = checkpoint("XmodForSequenceClassification", num_labels=3, **GEOMETRIES[geometry])
    source = model.find(str(folder))
    packing, plain = (model.load(source, "sequence", source.languages) for _ in range(2))
    plain.module.roberta.reads_first_token = False
    for ours in (packing, plain):
        ours.activate(source.languages[1])
        model.freeze(ours, "none")
    return packing, plain


def saw_packing(ours, batch, **extra):
    """Run a batch and return its logits and whether it went without padding."""
    seen = []
    handle = ours.module.roberta.embeddings.register_forward_hook(lambda _, __, out: seen.append(out.shape[0] == 1))
    logits = ours.module(**batch, **extra).logits
    handle.remove()
    return logits, seen == [True]


def test_tokens_stand_by_length_and_go_back_to_their_samples():
    batch = padded()
    packing = pack(batch["attention_mask"], Uniform("a"), ["a"])
    assert packing.runs == ((1, 1), (2, 4), (1, 7), (2, 9), (2, 12))
    assert sorted(packing.tokens.tolist()) == batch["attention_mask"].flatten().nonzero().flatten().tolist()
    assert (packing.tokens[packing.first][packing.back] == torch.arange(8) * 12).all()
    ids = torch.tensor([1, 0, 1, 0, 0, 0, 1, 1])
    mixed = pack(batch["attention_mask"], grouped(ids, ("a", "b")), ["a", "b"])
    assert mixed.route.order is None  # sorted by language already: no gather in any layer
    assert mixed.route.sizes == (27, 31)
    assert mixed.first_route.sizes == (4, 4)


@pytest.mark.parametrize("both", GEOMETRIES, indirect=True)
@pytest.mark.parametrize("ids", ["active", "none", "per sample", "per token"])
def test_logits_and_gradients_are_the_same_with_and_without_padding(ids, both):
    batch = padded()
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    generator = torch.Generator().manual_seed(2)
    extra = {
        "per sample": {"lang_ids": torch.randint(0, 3, (8,), generator=generator)},
        "per token": {"lang_ids": torch.randint(0, 3, (8, 12), generator=generator)},
    }.get(ids, {})
    outputs = []
    for ours in both:
        if ids == "none":
            ours.activate(None)
        output = ours.module(**batch, labels=labels, **extra)
        output.loss.backward()
        outputs.append(output)
    assert saw_packing(both[0], batch, **extra)[1]
    assert not saw_packing(both[1], batch, **extra)[1]
    assert torch.allclose(outputs[0].logits, outputs[1].logits, rtol=1e-4, atol=1e-5)
    assert torch.allclose(outputs[0].loss, outputs[1].loss, rtol=1e-4, atol=1e-5)
    for (name, parameter), other in zip(both[0].module.named_parameters(), both[1].module.parameters(), strict=True):
        nothing = torch.zeros_like(parameter)
        first, second = (nothing if grad is None else grad for grad in (parameter.grad, other.grad))
        assert torch.allclose(first, second, rtol=1e-4, atol=1e-5), name


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("head", ["tokens", "span"])
def test_heads_that_read_every_token_are_the_same_with_and_without_padding(head, geometry, checkpoint):
    stock = {"tokens": "XmodForTokenClassification", "span": "XmodForQuestionAnswering"}
    _, folder = checkpoint(stock[head], num_labels=2, **GEOMETRIES[geometry])
    batch = padded()
    real = batch["attention_mask"].bool()
    targets = {"start_positions": torch.zeros(8, dtype=torch.int64), "end_positions": torch.tensor(LENGTHS) - 1}
    if head == "tokens":
        labels = torch.randint(0, 2, real.shape, generator=torch.Generator().manual_seed(3))
        targets = {"labels": labels.masked_fill(~real, -100)}
    outputs = []
    for packs in (True, False):
        source = model.find(str(folder))
        ours = model.load(source, head, source.languages[:1])
        model.freeze(ours, "none")
        ours.leave_padding_out()
        ours.module.roberta.reads_padding = not packs
        seen = []
        ours.module.roberta.embeddings.register_forward_hook(lambda _, __, out, seen=seen: seen.append(out.shape[:2]))
        output = ours.module(**batch, **targets)
        output.loss.backward()
        assert seen == [(1, sum(LENGTHS)) if packs else (8, 12)]
        logits = [output[name][real] for name in ("logits", "start_logits", "end_logits") if name in output]
        outputs.append(
            [
                output.loss,
                *logits,
                *(parameter.grad for parameter in ours.module.parameters() if parameter.grad is not None),
            ]
        )
    assert len(outputs[0]) > 20
    for entry, other in zip(*outputs, strict=True):
        assert torch.allclose(entry, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("hole", ["left", "middle", "empty row", "four dimensions"])
def test_a_mask_of_another_form_takes_the_long_way(hole, both):
    batch = padded()
    mask = batch["attention_mask"]
    match hole:
        case "left":
            batch = {name: value.flip(1) for name, value in batch.items()}
        case "middle":
            mask[2, 5] = 0
        case "empty row":
            mask[6] = 0
        case "four dimensions":
            batch["attention_mask"] = mask.bool()[:, None, None].expand(-1, 1, 12, -1)
    (entry, packed), (stock, _) = (saw_packing(ours, batch) for ours in both)
    assert not packed
    rows = torch.tensor([row for row in range(8) if hole != "empty row" or row != 6])
    assert torch.allclose(entry[rows], stock[rows], rtol=1e-4, atol=1e-5)


def test_positions_and_types_are_the_batchs(checkpoint):
    _, folder = checkpoint("XmodForSequenceClassification", num_labels=3, type_vocab_size=2)
    packing, plain = (model.load(model.find(str(folder)), "sequence", ["en_XX"]) for _ in range(2))
    plain.module.roberta.reads_first_token = False
    batch = padded()
    batch["input_ids"][2, 3] = 1  # a padding token within the text takes no position
    extra = {"token_type_ids": torch.randint(0, 2, (8, 12)), "position_ids": torch.randint(2, 30, (1, 12))}
    for some in ({}, extra):
        (entry, packed), (stock, _) = (saw_packing(ours, batch, **some) for ours in (packing, plain))
        assert packed
        assert torch.allclose(entry, stock, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(entry[0], entry[1], atol=1e-3)


def test_tuples_come_out_if_asked_for(both):
    packing, _ = both
    (logits,) = packing.module(**padded(), return_dict=False)
    assert torch.equal(logits, packing.module(**padded()).logits)


def test_dropout_in_training_is_drawn_anew_and_repeats_with_the_seed(both):
    packing, _ = both
    packing.module.train()
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        runs.append(packing.module(**padded()).logits)
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_mixed_precision_goes_without_padding_too(both):
    packing, _ = both
    exact, _ = saw_packing(packing, padded())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough, packed = saw_packing(packing, padded())
    assert packed
    assert torch.allclose(rough.float(), exact, atol=0.15)
