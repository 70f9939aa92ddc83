"""Wrong answers to the exercises of chapter 15."""

HEAD = "def clipped(grad, weight, limit, eps):\n"
FLOOR = "    most = limit * np.maximum(np.linalg.norm(weight, axis=0), eps)\n"
LENGTH = "    length = np.linalg.norm(grad, axis=0)\n"

ANSWERS = {
    "15.1": {
        "wrong": ["answer_15_1 = 0.5", "answer_15_1 = 1 / 30"],
        "near": "answer_15_1 = 0.033",
    },
    "15.2": {
        "wrong": [
            HEAD + FLOOR + LENGTH + "    return grad * most / length\n",
            HEAD
            + FLOOR.replace("axis=0", "axis=1, keepdims=True")
            + LENGTH.replace("axis=0", "axis=1, keepdims=True")
            + "    return grad * np.minimum(1, most / length)\n",
        ],
        "near": HEAD
        + "    most = limit * (np.linalg.norm(weight, axis=0) + eps)\n"
        + LENGTH
        + "    return grad * np.minimum(1, most / length)\n",
    },
    "15.3": {
        "wrong": ['answer_15_3 = "a"', 'answer_15_3 = "d"'],
    },
}
