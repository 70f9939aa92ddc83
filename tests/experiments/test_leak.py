"""The pretext tasks: who is a candidate, who is the answer, what can leak."""

import numpy as np
from needs_torch import torch

from experiments import leak, nets


def test_a_query_has_its_answer_and_the_keys_of_other_devices():
    q = torch.eye(6, dtype=torch.float64)
    for task, right in (
        ("pairs", [0, 1, 2, 3, 4, 5]),
        ("strangers", [1, 2, 0, 4, 5, 3]),
    ):
        for place, answer in enumerate(right):
            k = torch.zeros(6, 6, dtype=torch.float64)
            k[:, 5 - place] = 1
            k[answer] = q[place]
            found = leak.logits(q, k, task, 3)[place]
            assert found.argmax() == 0
            assert found[0] == 1 / leak.TEMPERATURE
            assert int(found.isfinite().sum()) == 1 + 3


def test_chance_is_one_of_the_candidates():
    assert leak.chance(2) == 100 / 63
    assert leak.chance(8) == 100 / 57


def test_keys_are_put_back_after_shuffling():
    """In evaluation mode no company counts, so the keys are those of the images."""
    x = nets.images("test", torch.float64)[0][:64]
    keys = []
    for arm in ("own", "shuffled"):
        model = leak.Finder(arm, 4, 0, torch.float64).eval()
        model.body.load_state_dict(
            leak.Finder("own", 4, 0, torch.float64).body.state_dict()
        )
        keys.append(model(x, np.random.default_rng(3))[1])
    torch.testing.assert_close(*keys, rtol=0, atol=1e-12)


def test_shuffled_keys_meet_other_company():
    x = nets.images("test", torch.float64)[0][:64]
    keys = [
        leak.Finder(arm, 4, 0, torch.float64)(x, np.random.default_rng(3))[1]
        for arm in ("own", "shuffled")
    ]
    assert not torch.allclose(*keys)


def test_a_view_is_the_image_moved_by_at_most_one_pixel():
    x = nets.images("test", torch.float64)[0][:5]
    rng = np.random.default_rng(0)
    seen = leak.view(x, rng).view(5, 28, 28)
    for image, own in zip(x.view(5, 28, 28), seen, strict=True):
        padded = torch.nn.functional.pad(image, (1, 1, 1, 1))
        gaps = [
            (padded[a : a + 28, b : b + 28] - own).abs().mean()
            for a in range(3)
            for b in range(3)
        ]
        assert min(gaps) < 0.1


def test_verdicts_follow_the_shares(monkeypatch):
    def judged(share):
        monkeypatch.setattr(leak, "of", lambda *where: np.full(8, float(share(*where))))
        return [c.verdict for c in leak.claims()]

    yes, part, no = "reproduced", "partly", "not at this size"
    assert judged(lambda *_: 1.5) == [no] * 3 + [part] * 2 + [yes, no, no]

    def told(task, arm, size, column="training"):
        if task == "pairs":
            shuffled = 2 * (arm == "shuffled")
            return {"training": 80, "evaluation": 60, "neighbour": 85 + shuffled}[
                column
            ]
        return {"own": 40 if size == 2 else 5, "layer": 9}.get(arm, 1)

    assert judged(told) == [yes, part, part, yes, yes, part, yes, yes]
