"""Wrong answers to the exercises of chapter 14."""

HEAD = """def stream(x, mean, var, size, worth):
    out = np.empty(x.shape)
    for end in range(size, len(x) + 1, size):
"""
SEEN = "        seen, weight = x[:end], worth / (worth + end)\n"
MIX = """        mu = weight * mean + (1 - weight) * seen.mean(axis=0)
        sigma2 = weight * var + (1 - weight) * seen.var(axis=0)
"""
TAIL = """        now = slice(end - size, end)
        out[now] = (x[now] - mu) / np.sqrt(sigma2 + 1e-5)
    return out
"""

ANSWERS = {
    "14.1": {
        "wrong": ["answer_14_1 = 2 / 3", "answer_14_1 = 1.0"],
        "near": "answer_14_1 = 0.9",
    },
    "14.2": {
        "wrong": [
            HEAD + SEEN.replace("x[:end]", "x[end - size : end]") + MIX + TAIL,
            HEAD + SEEN.replace("worth + end", "worth + size") + MIX + TAIL,
        ],
        "near": HEAD + SEEN + MIX.replace("var(axis=0)", "var(axis=0, ddof=1)") + TAIL,
    },
    "14.3": {
        "wrong": ['answer_14_3 = "a"', 'answer_14_3 = "b"'],
    },
}
