"""Wrong answers to the exercises of chapter 6."""

MAPS = "def normalize_maps(x, eps):\n    mean = x.mean({0}, keepdims=True)\n"
RETURN = "    return (x - mean) / np.sqrt(x.var({0}, keepdims=True) + eps)\n"
FOLD = "def fold(weight, gamma, beta, mean, var, eps):\n"

ANSWERS = {
    "6.1": {
        "wrong": ["answer_6_1 = 32", "answer_6_1 = 32 * 14 * 14 * 64"],
        "near": "answer_6_1 = 32 * 14 * 14 - 1",
    },
    "6.2": {
        "wrong": [(MAPS + RETURN).format("0"), (MAPS + RETURN).format("(1, 2, 3)")],
        "near": MAPS.format("(0, 2, 3)")
        + "    return (x - mean) / (x.std((0, 2, 3), keepdims=True) + eps)\n",
    },
    "6.3": {
        "wrong": [
            FOLD
            + "    scale = gamma / np.sqrt(var + eps)\n"
            + "    return weight * scale[:, None, None, None], beta\n",
            FOLD
            + "    scale = gamma / (var + eps)\n"
            + "    return weight * scale[:, None, None, None], beta - mean * scale\n",
        ],
        "near": FOLD
        + "    scale = gamma / np.sqrt(var)\n"
        + "    return weight * scale[:, None, None, None], beta - mean * scale\n",
    },
    "6.4": {"wrong": ['answer_6_4 = "a"', 'answer_6_4 = "c"']},
}
