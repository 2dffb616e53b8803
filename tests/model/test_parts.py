"""The parts of a batch that several processes compute add up to the batch, dropout included."""

import pytest
import torch

from xmodctl import model
from xmodctl.model.parts import Part, computing

LENGTHS = (12, 9, 9, 9, 7, 7, 5, 4, 4, 3)
CUTS = {
    "halves": ((0, 2, 3, 7, 9), (1, 4, 5, 6, 8)),
    "thirds": ((0, 6, 9), (1, 2, 7), (3, 4, 5, 8)),
    "one row": ((0, 1, 2, 3, 4, 5, 6, 7, 8), (9,)),
}


def batch_of(head: str, *, mixed: bool) -> dict[str, torch.Tensor]:
    """Return a padded batch with labels, each of whose rows has the same number of loss terms."""
    draw = torch.Generator().manual_seed(3)
    rows = torch.tensor(LENGTHS)
    mask = (torch.arange(12)[None] < rows[:, None]).long()
    ids = torch.randint(5, 18, mask.shape, generator=draw).masked_fill(mask == 0, 1)
    batch = {"input_ids": ids, "attention_mask": mask}
    count = len(LENGTHS)
    if head == "choice":
        batch = {name: value.view(count // 2, 2, 12) for name, value in batch.items()}
        count //= 2
    if mixed:
        batch["lang_ids"] = torch.arange(count) % 2
    if head == "span":
        return batch | {"start_positions": torch.ones(count).long(), "end_positions": torch.full((count,), 2)}
    if head == "tokens":
        labels = torch.full(mask.shape, -100)
        labels[:, 1:3] = torch.randint(0, 3, (count, 2), generator=draw)
        return batch | {"labels": labels}
    return batch | {"labels": torch.randint(0, 2, (count,), generator=draw)}


def gradients(ours: model.Xmod, batch: dict[str, torch.Tensor], part: Part | None) -> tuple[float, torch.Tensor]:
    """Return the summed loss of rows and its gradient, with the dropout of step 7."""
    torch.manual_seed(7)
    ours.module.zero_grad()
    with computing(part):
        loss = ours.module(**batch).loss * len(batch["input_ids"])
        loss.backward()
    trained = [parameter.grad for parameter in ours.module.parameters() if parameter.grad is not None]
    return float(loss.detach()), torch.cat([gradient.flatten() for gradient in trained])


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("head", ["sequence", "tokens", "span", "choice"])
def test_losses_and_gradients_of_parts_add_up_to_those_of_the_batch(tiny_model, head, mixed, cut):
    labels = {} if head in ("span", "choice") else {"num_labels": 3}
    ours = model.load(model.find(str(tiny_model)), head, ["en_XX", "de_DE"], seed=1, **labels)
    ours.activate("en_XX")
    ours.set_dropout(hidden=0.3, attention=0.2)
    ours.leave_padding_out()
    model.freeze(ours, "embeddings+adapters")
    ours.module.train()
    batch = batch_of(head, mixed=mixed)
    loss, gradient = gradients(ours, batch, None)
    rows = len(batch["input_ids"])
    lengths = batch["attention_mask"].view(len(LENGTHS), 12).sum(1)
    languages = batch["lang_ids"].repeat_interleave(len(LENGTHS) // rows) if mixed else torch.zeros_like(lengths)
    losses, sums = 0.0, torch.zeros_like(gradient)
    for own in CUTS[cut]:
        units = torch.tensor([row for row in own if row < rows])
        if not len(units):
            continue
        features = units if head != "choice" else (units[:, None] * 2 + torch.arange(2)).flatten()
        width = int(lengths[features].max())
        share = {
            name: value[units][..., : width if value.shape[-1] == 12 else None].contiguous()
            for name, value in batch.items()
        }
        part_loss, part_gradient = gradients(ours, share, Part(features, lengths, languages))
        losses, sums = losses + part_loss, sums + part_gradient
    assert losses == pytest.approx(loss, rel=1e-5)
    assert torch.allclose(sums, gradient, rtol=1e-3, atol=1e-5)
    torch.manual_seed(8)
    with torch.no_grad():
        other = float(ours.module(**batch).loss * rows)
    assert other != pytest.approx(loss, rel=1e-4)  # dropout was on
