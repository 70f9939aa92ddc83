"""Wrong answers to the exercises of chapter 4."""

UPDATE = "def update(running_mean, running_var, x, momentum):\n"
OLD = "    old, new = {}, {}\n"
BOTH = (
    "    var = x.var(0, ddof={})\n"
    "    return (\n"
    "        old * running_mean + new * x.mean(0), old * running_var + new * var\n"
    "    )\n"
)
FOLD = "def fold(W, b, mean, var, gamma, beta, eps):\n"

ANSWERS = {
    "4.1": {
        "wrong": ["answer_4_1 = 3.0", "answer_4_1 = 7.29", "answer_4_1 = 9.99"],
        "near": "answer_4_1 = 2.8",
    },
    "4.2": {
        "wrong": [
            UPDATE + OLD.format("momentum", "1 - momentum") + BOTH.format(1),
            UPDATE + "    return x.mean(0), x.var(0, ddof=1)\n",
            UPDATE + OLD.format("1", "momentum") + BOTH.format(1),
        ],
        "near": UPDATE + OLD.format("1 - momentum", "momentum") + BOTH.format(0),
    },
    "4.3": {
        "wrong": [
            FOLD + "    s = gamma / np.sqrt(var + eps)\n"
            "    return s[:, None] * W, beta - s * mean\n",
            FOLD + "    s = gamma / np.sqrt(var + eps)\n"
            "    return W, s * (b - mean) + beta\n",
            FOLD + "    s = gamma / (var + eps)\n"
            "    return s[:, None] * W, s * (b - mean) + beta\n",
        ],
        "near": FOLD + "    s = gamma / (np.sqrt(var) + eps)\n"
        "    return s[:, None] * W, s * (b - mean) + beta\n",
    },
    "4.4": {"wrong": ['answer_4_4 = "a"', 'answer_4_4 = "c"']},
}
