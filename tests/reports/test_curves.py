import json

from xmodctl.reports.curves import POINTS, read_curve


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def step(number, loss=1.0, total=10):
    return {"step": number, "total_steps": total, "loss": loss}


def test_a_short_training_is_drawn_step_by_step(tmp_path):
    lines = [step(1, 3.0), step(2, 2.0), {"step": 2, "metric": "accuracy", "value": 70.0}, step(3, 1.0)]
    curve = read_curve(write(tmp_path / "m.jsonl", lines), 7)
    assert (curve.seed, curve.total_steps, curve.metric) == (7, 10, "accuracy")
    assert curve.losses == ((1, 3.0), (2, 2.0), (3, 1.0))
    assert curve.validations == ((2, 70.0),)


def test_a_long_training_is_thinned_to_means_that_keep_the_last_step(tmp_path):
    total = POINTS * 10
    curve = read_curve(write(tmp_path / "m.jsonl", [step(n, float(n), total) for n in range(1, total + 1)]), 1)
    assert len(curve.losses) == POINTS
    assert curve.losses[0] == (10, 5.5)
    assert curve.losses[-1][0] == total


def test_torn_lines_and_losses_that_are_no_numbers_are_passed_over(tmp_path):
    path = write(tmp_path / "m.jsonl", [step(1), step(2, float("nan")), step(3, 2.0)])
    with path.open("a") as file:
        file.write('{"step": 4, "total_st')
    assert read_curve(path, 1).losses == ((1, 1.0), (3, 2.0))


def test_no_record_is_no_curve(tmp_path):
    assert read_curve(tmp_path / "none.jsonl", 1) is None
    assert read_curve(write(tmp_path / "empty.jsonl", []), 1) is None
