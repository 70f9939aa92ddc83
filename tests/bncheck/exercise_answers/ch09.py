"""Wrong answers to the exercises of chapter 9."""

HEAD = "def skip_variances(scales, normalized):\n"

ANSWERS = {
    "9.1": {
        "wrong": ["answer_9_1 = 1.0", "answer_9_1 = 1.4669", "answer_9_1 = 1.5708"],
        "near": "answer_9_1 = 2.7",
    },
    "9.2": {
        "wrong": [
            HEAD + "    return 1 + np.concatenate([[0], np.cumsum(scales**2)])\n",
            HEAD
            + "    if normalized:\n"
            + "        return 1 + np.concatenate([[0], np.cumsum(scales)])\n"
            + "    return np.concatenate([[1], np.cumprod(1 + scales)])\n",
        ],
        "near": HEAD
        + "    if normalized:\n"
        + "        return 1 + np.cumsum(scales**2)\n"
        + "    return np.cumprod(1 + scales**2)\n",
    },
    "9.3": {"wrong": ['answer_9_3 = "a"', 'answer_9_3 = "c"', 'answer_9_3 = "d"']},
}
