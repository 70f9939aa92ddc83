"""Wrong answers to the exercises of chapter 6."""

SOUNDS = """\
def normalize_sounds(x, lengths, eps):
    real = (np.arange(x.shape[2]) < lengths[:, None])[:, None]
    count = {count}
    mean = {mean}
    away = (x - mean) * real
    var = (away**2).sum((0, 2), keepdims=True) / count
    return {out}
"""
COUNT, OUT = "lengths.sum()", "away / np.sqrt(var + eps)"
MEAN = "(x * real).sum((0, 2), keepdims=True) / count"
OWN = "(x * real).sum(2, keepdims=True) / lengths[:, None, None]"
MEANS = f"({OWN}).mean(0)"
BRANCHES = """\
def one_convolution(weight, s1, c1, s2, c2):
    k = range(len(s1))
    total = weight * s1[:, None, None, None]
    {}
    return total, {}
"""
MIDDLE = "total[k, k, 1, 1] += s2"


ANSWERS = {
    "6.1": {
        "wrong": ["answer_6_1 = 16", "answer_6_1 = 0.25", "answer_6_1 = 20"],
        "near": "answer_6_1 = 3.8",
    },
    "6.2": {
        "wrong": [
            SOUNDS.format(count=COUNT, mean=MEANS, out=OUT),
            SOUNDS.format(count="x[:, 0].size", mean=MEAN, out=OUT),
            "def normalize_sounds(x, lengths, eps):\n"
            "    mean, var = x.mean((0, 2)), x.var((0, 2))\n"
            "    y = (x - mean[:, None]) / np.sqrt(var + eps)[:, None]\n"
            "    return y * (np.arange(x.shape[2]) < lengths[:, None])[:, None]\n",
        ],
        "near": SOUNDS.format(
            count=COUNT, mean=MEAN, out="(x - mean) / np.sqrt(var + eps)"
        ),
        "named": {
            SOUNDS.format(count=COUNT, mean=MEANS, out=OUT).replace(
                "(away**2).sum((0, 2), keepdims=True) / count",
                f"(({squares}).sum(2) / lengths[:, None]).mean(0)[:, None]",
            ): "average the means of the sounds"
            for squares in ("away**2", f"((x - {OWN}) * real) ** 2")
        },
    },
    "6.3": {
        "wrong": [
            BRANCHES.format("pass", "c1 + c2"),
            BRANCHES.format("total[:, :, 1, 1] += s2[:, None]", "c1 + c2"),
            BRANCHES.format("total[k, k] += s2[:, None, None]", "c1 + c2"),
        ],
        "near": BRANCHES.format(MIDDLE, "c1"),
        "named": {
            BRANCHES.format("total[k, k, 1, 1] = s2", "c1 + c2"): "is lost. Add s2",
        },
    },
    "6.4": {"wrong": [f'answer_6_4 = "{letter}"' for letter in "bcd"]},
}
