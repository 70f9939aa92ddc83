"""Wrong answers to the exercises of chapter 7."""

HEAD = "def first_step(step, accuracy, share):\n"

ANSWERS = {
    "7.1": {
        "wrong": ["answer_7_1 = 5.0", "answer_7_1 = 0.25"],
        "near": "answer_7_1 = 0.53",
    },
    "7.2": {
        "wrong": [
            HEAD + "    return float(np.flatnonzero(accuracy >= share)[0])\n",
            HEAD + "    return step[np.argmin(abs(accuracy - share))]\n",
        ],
        "near": HEAD + "    return step[np.argmax(accuracy >= share)]\n",
    },
    "7.3": {
        "wrong": ['answer_7_3 = "a"', 'answer_7_3 = "d"'],
        "near": 'answer_7_3 = "c"',
    },
}
