"""Wrong answers to the exercises of chapter 3."""

NORMALIZE = "def normalize(x, gamma, beta, eps):\n"
MERGE = "def merge(mu1, var1, m1, mu2, var2, m2):\n"

ANSWERS = {
    "3.1": {
        "wrong": ["answer_3_1 = 1.5", "answer_3_1 = 6.0", "answer_3_1 = 0.5"],
        "near": "answer_3_1 = 1.7",
    },
    "3.2": {
        "wrong": [
            NORMALIZE + "    mu = x.mean(1, keepdims=True)\n"
            "    std = np.sqrt(x.var(1, keepdims=True) + eps)\n"
            "    return gamma * (x - mu) / std + beta\n",
            NORMALIZE
            + "    return gamma * (x - x.mean(0)) / (x.var(0) + eps) + beta\n",
            NORMALIZE + "    return gamma * x / np.sqrt(x.var(0) + eps) + beta\n",
        ],
        "near": NORMALIZE
        + "    return gamma * (x - x.mean(0)) / (x.std(0) + eps) + beta\n",
    },
    "3.3": {
        "wrong": ["answer_3_3 = 0.0315", "answer_3_3 = 0.00316"],
        "near": "answer_3_3 = 0.0235",
    },
    "3.4": {
        "wrong": [
            MERGE + "    s = m1 / (m1 + m2)\n"
            "    return s * mu1 + (1 - s) * mu2, s * var1 + (1 - s) * var2\n",
            MERGE + "    return (mu1 + mu2) / 2, (var1 + var2) / 2\n",
        ],
        "near": MERGE + "    mu = (mu1 + mu2) / 2\n"
        "    between = ((mu1 - mu) ** 2 + (mu2 - mu) ** 2) / 2\n"
        "    return mu, (var1 + var2) / 2 + between\n",
    },
}
