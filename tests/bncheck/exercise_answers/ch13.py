"""Wrong answers to the exercises of chapter 13."""

HEAD = "def standardize_weights(W, eps):\n    rows = W.reshape(len(W), -1)\n"

ANSWERS = {
    "13.1": {
        "wrong": ["answer_13_1 = 64", "answer_13_1 = 144"],
    },
    "13.2": {
        "wrong": [
            HEAD
            + "    z = (rows - rows.mean()) / np.sqrt(rows.var() + eps)\n"
            + "    return z.reshape(W.shape)\n",
            HEAD
            + "    z = rows - rows.mean(axis=1, keepdims=True)\n"
            + "    z = z / (rows.var(axis=1, keepdims=True) + eps)\n"
            + "    return z.reshape(W.shape)\n",
        ],
        "near": HEAD
        + "    z = rows - rows.mean(axis=1, keepdims=True)\n"
        + "    z = z / np.sqrt(rows.var(axis=1, ddof=1, keepdims=True) + eps)\n"
        + "    return z.reshape(W.shape)\n",
    },
    "13.3": {
        "wrong": ['answer_13_3 = "a"', 'answer_13_3 = "b"'],
    },
}
