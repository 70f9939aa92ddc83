"""Wrong answers to the exercises of chapter 12."""

HEAD = "def without(n, mean, var, n_bad, mean_bad, var_bad):\n    left = n - n_bad\n"
MEAN = "    mu = (n * mean - n_bad * mean_bad) / left\n"
SQUARES = "    squares = n * (var + mean**2) - n_bad * (var_bad + mean_bad**2)\n"

ANSWERS = {
    "12.1": {
        "wrong": ["answer_12_1 = 1", "answer_12_1 = 100"],
        "near": "answer_12_1 = 2.1",
    },
    "12.2": {
        "wrong": [
            HEAD + MEAN + "    return left, mu, (n * var - n_bad * var_bad) / left\n",
            HEAD + MEAN + SQUARES + "    return left, mu, squares / left\n",
        ],
        "near": HEAD
        + MEAN
        + SQUARES
        + "    return left, mu, (squares / left - mu**2) * left / (left - 1)\n",
    },
    "12.3": {
        "wrong": ['answer_12_3 = "a"', 'answer_12_3 = "c"'],
    },
}
