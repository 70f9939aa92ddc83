"""Wrong answers to the exercises of chapter 11."""

HEAD = "def gaussian_dropout_ratio(u, w, sd):\n"

ANSWERS = {
    "11.1": {
        "wrong": ["answer_11_1 = 32 ** -0.5", "answer_11_1 = 1 / 16"],
        "near": "answer_11_1 = 0.26",
    },
    "11.2": {
        "wrong": [
            HEAD
            + "    extra = sd**2 * (w**2 * u.var(axis=0)).sum()\n"
            + "    return 1 + extra / (u @ w).var()\n",
            HEAD
            + "    extra = sd**2 * (w**2 * (u**2).mean(axis=0)).sum()\n"
            + "    return 1 + extra / (w**2 * u.var(axis=0)).sum()\n",
        ],
        "near": HEAD
        + "    extra = sd**2 * (w**2 * (u**2).mean(axis=0)).sum()\n"
        + "    return 1 + extra / (u @ w).var(ddof=1)\n",
    },
    "11.3": {
        "wrong": ['answer_11_3 = "a"', 'answer_11_3 = "d"'],
    },
}
