"""The engine computes what stock transformers computes: outputs, losses and gradients."""

import pytest
import torch
import transformers
from geometries import GEOMETRIES

from xmodctl import model
from xmodctl.model.heads import ARCHITECTURES


def labels_for(head, batch):
    rows, length = batch["input_ids"].shape[:2] if head != "choice" else (2, 2)
    generator = torch.Generator().manual_seed(2)
    match head:
        case "sequence":
            return {"labels": torch.randint(0, 3, (rows,), generator=generator)}
        case "tokens":
            labels = torch.randint(0, 3, (rows, length), generator=generator)
            return {"labels": labels.masked_fill(batch["attention_mask"] == 0, -100)}
        case "masked-lm" | "causal-lm":
            labels = torch.randint(0, 120, (rows, length), generator=generator)
            return {"labels": labels.masked_fill(batch["attention_mask"] == 0, -100)}
        case "span":
            return {
                "start_positions": torch.randint(0, 4, (rows,), generator=generator),
                "end_positions": torch.randint(0, 4, (rows,), generator=generator),
            }
        case "choice":
            return {"labels": torch.randint(0, 2, (2,), generator=generator)}
        case _:
            return {}


def outputs_of(head, output):
    match head:
        case "span":
            return torch.stack([output.start_logits, output.end_logits])
        case "none":
            return output.last_hidden_state
        case _:
            return output.logits


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("head", ARCHITECTURES)
def test_outputs_losses_and_gradients_equal_stock(head, geometry, checkpoint, batch):
    settings = dict(GEOMETRIES[geometry])
    if head in {"sequence", "tokens"}:
        settings["num_labels"] = 3
    if head == "causal-lm":
        settings["is_decoder"] = True
    stock, folder = checkpoint(ARCHITECTURES[head], **settings)
    language = stock.config.languages[1]
    ours = model.load(model.find(str(folder)), head, [language])
    assert ours.initialized == ()
    model.freeze(ours, "none")
    batch = {**batch, **labels_for(head, batch)}
    if head == "choice":
        batch = {name: value.view(2, 2, 12) if value.dim() == 2 else value for name, value in batch.items()}
        expected = stock(**batch, lang_ids=torch.tensor([1]))
    else:
        expected = stock(**batch, lang_ids=torch.full((4,), 1))
    entry = ours.module(**batch)
    real = batch["attention_mask"].bool()
    if head in {"tokens", "masked-lm", "causal-lm", "none"}:
        assert torch.allclose(outputs_of(head, entry)[real], outputs_of(head, expected)[real], rtol=1e-4, atol=1e-5)
    elif head == "span":
        assert torch.allclose(
            outputs_of(head, entry)[:, real], outputs_of(head, expected)[:, real], rtol=1e-4, atol=1e-5
        )
    else:
        assert torch.allclose(outputs_of(head, entry), outputs_of(head, expected), rtol=1e-4, atol=1e-5)

    objective = {
        id(output): (output.last_hidden_state[real].square().mean() if head == "none" else output.loss)
        for output in (entry, expected)
    }
    assert torch.allclose(objective[id(entry)], objective[id(expected)], rtol=1e-4, atol=1e-5)
    objective[id(entry)].backward()
    objective[id(expected)].backward()
    reference = dict(stock.named_parameters())
    compared = 0
    for name, parameter in ours.module.named_parameters():
        if reference[name].grad is None:
            assert parameter.grad is None, name
            continue
        assert torch.allclose(parameter.grad, reference[name].grad, rtol=1e-4, atol=1e-5), name
        compared += 1
    assert compared > 30


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("shape", ["per sample", "sorted samples", "per token"])
def test_mixed_batches_equal_stock(shape, geometry, checkpoint, batch):
    stock, folder = checkpoint("XmodForTokenClassification", num_labels=3, **GEOMETRIES[geometry])
    names = stock.config.languages
    ours = model.load(model.find(str(folder)), "tokens", [names[2], names[0], names[1]])
    model.freeze(ours, "none")
    spoken = {
        "per sample": [0, 2, 1, 0],
        "sorted samples": [2, 0, 0, 1],
        "per token": torch.randint(0, 3, (48,), generator=torch.Generator().manual_seed(3)).tolist(),
    }[shape]
    their_ids = torch.tensor(spoken)
    our_ids = ours.ids([names[number] for number in spoken])
    if shape == "per token":
        their_ids, our_ids = their_ids.view(4, 12), our_ids.view(4, 12)
    labels = labels_for("tokens", batch)
    expected = stock(**batch, **labels, lang_ids=their_ids)
    entry = ours.module(**batch, **labels, lang_ids=our_ids)
    real = batch["attention_mask"].bool()
    assert torch.allclose(entry.logits[real], expected.logits[real], rtol=1e-4, atol=1e-5)
    expected.loss.backward()
    entry.loss.backward()
    reference = dict(stock.named_parameters())
    for name, parameter in ours.module.named_parameters():
        assert torch.allclose(parameter.grad, reference[name].grad, rtol=1e-4, atol=1e-5), name


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_no_adapter_equals_a_stock_adapter_whose_output_is_zero(geometry, checkpoint, batch):
    stock, folder = checkpoint("XmodModel", **GEOMETRIES[geometry])
    ours = model.load(model.find(str(folder)), "none", [stock.config.languages[0]])
    with_adapter = ours.module(**batch).last_hidden_state
    ours.activate(None)
    assert ours.active is None
    without = ours.module(**batch).last_hidden_state
    for layer in stock.encoder.layer:
        torch.nn.init.zeros_(layer.output.adapter_modules[stock.config.languages[0]].dense2.weight)
        torch.nn.init.zeros_(layer.output.adapter_modules[stock.config.languages[0]].dense2.bias)
    real = batch["attention_mask"].bool()
    expected = stock(**batch, lang_ids=torch.zeros(4, dtype=torch.long)).last_hidden_state
    assert torch.allclose(without[real], expected[real], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(without[real], with_adapter[real], atol=1e-2)


def test_training_mode_draws_dropout_and_evaluation_does_not(checkpoint, batch):
    _, folder = checkpoint("XmodForSequenceClassification", num_labels=3)
    ours = model.load(model.find(str(folder)), "sequence", ["de_DE"])
    assert not ours.module.training
    assert torch.equal(ours.module(**batch).logits, ours.module(**batch).logits)
    ours.module.train()
    assert not torch.equal(ours.module(**batch).logits, ours.module(**batch).logits)


def test_training_without_dropout_equals_stock(checkpoint, batch):
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    stock, folder = checkpoint("XmodForSequenceClassification", num_labels=3, **still)
    ours = model.load(model.find(str(folder)), "sequence", ["de_DE"])
    ours.module.train()
    expected = stock.train()(**batch, lang_ids=torch.full((4,), 1)).logits
    assert torch.allclose(ours.module(**batch).logits, expected, rtol=1e-4, atol=1e-5)


def test_hidden_states_and_attentions_are_stocks(checkpoint, batch):
    stock, folder = checkpoint("XmodForSequenceClassification", num_labels=3)
    ours = model.load(model.find(str(folder)), "sequence", ["de_DE"])
    wanted = {"output_hidden_states": True, "output_attentions": True}
    entry = ours.module(**batch, **wanted)
    stock.set_attn_implementation("eager")
    expected = stock(**batch, lang_ids=torch.full((4,), 1), **wanted)
    assert len(entry.hidden_states) == 3
    assert len(entry.attentions) == 2
    real = batch["attention_mask"].bool()
    for outputs, targets in zip(entry.hidden_states, expected.hidden_states, strict=True):
        assert torch.allclose(outputs[real], targets[real], rtol=1e-4, atol=1e-5)
    for outputs, targets in zip(entry.attentions, expected.attentions, strict=True):
        assert torch.allclose(outputs.transpose(1, 2)[real], targets.transpose(1, 2)[real], rtol=1e-4, atol=1e-5)
    assert torch.allclose(entry.logits, ours.module(**batch).logits, rtol=1e-4, atol=1e-5)


def test_the_heads_are_the_seven_of_transformers():
    for name in ARCHITECTURES.values():
        assert hasattr(transformers, name)


def test_scoring_labeled_tokens_alone_changes_neither_loss_nor_gradients(checkpoint, batch):
    _, folder = checkpoint("XmodForMaskedLM")
    labels = torch.full((4, 12), -100)
    labels[0, 2], labels[2, 5], labels[3, 1] = 7, 8, 9
    losses, gradients, shapes = [], [], []
    for alone in (False, True):
        ours = model.load(model.find(str(folder)), "masked-lm", ["de_DE"])
        model.freeze(ours, "none")
        if alone:
            ours.score_labeled_only()
        output = ours.module(**batch, labels=labels)
        output.loss.backward()
        losses.append(output.loss)
        gradients.append({name: parameter.grad for name, parameter in ours.module.named_parameters()})
        shapes.append(tuple(output.logits.shape))
        assert tuple(ours.module(**batch).logits.shape) == (4, 12, 120)
    assert shapes == [(4, 12, 120), (3, 120)]
    assert torch.allclose(*losses, atol=1e-6)
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], rtol=1e-4, atol=1e-6), name
