"""Wrong answers to the exercises of chapter 7."""

HEAD = "def lasting_step(step, accuracy, share):\n"
LAST = HEAD + "    below = np.flatnonzero(accuracy < share)\n"

ANSWERS = {
    "7.1": {
        "wrong": ["answer_7_1 = 2.0", "answer_7_1 = 64.0", "answer_7_1 = 6.0"],
        "near": "answer_7_1 = 8.5",
    },
    "7.2": {
        "wrong": [
            HEAD + "    return step[accuracy >= share][0]\n",
            LAST + "    return step[below[-1]] if len(below) else step[0]\n",
        ],
        "near": LAST
        + "    first = below[-1] + 1 if len(below) else 0\n"
        + "    return step[first] if first < len(step) else -1\n",
    },
    "7.3": {
        "wrong": ['answer_7_3 = "b"', 'answer_7_3 = "d"'],
        "near": 'answer_7_3 = "c"',
    },
}
