"""Wrong answers to the exercises of chapter 10."""

HEAD = "def rates_without_decay(lr, decay):\n"

ANSWERS = {
    "10.1": {
        "wrong": ["answer_10_1 = 0.0008", "answer_10_1 = 0.04", "answer_10_1 = 0.02"],
        "near": "answer_10_1 = 0.00042",
    },
    "10.2": {
        "wrong": [
            HEAD + "    c = 1 - lr[0] * decay[0]\n"
            "    return lr * c ** (-2.0 * np.arange(len(lr)) - 1)\n",
            HEAD + "    return lr / (1 - lr * decay) ** 2\n",
            HEAD + "    return lr\n",
        ],
        "near": HEAD + "    return lr / np.cumprod(1 - lr * decay)\n",
    },
    "10.3": {
        "wrong": ['answer_10_3 = "b"', 'answer_10_3 = "d"'],
        "near": 'answer_10_3 = "a"',
    },
}
