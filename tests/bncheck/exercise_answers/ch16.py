"""Wrong answers to the exercises of chapter 16."""

MERGE = (
    "def merge_statistics(counts, means, variances):\n"
    "    w = counts[:, None] / counts.sum()\n"
    "    mean = (w * means).sum(axis=0)\n"
)
TIME = "def time_constant(momentum, batch_size):\n"

ANSWERS = {
    "16.1": {
        "wrong": ["answer_16_1 = 0.99", "answer_16_1 = 0.1"],
        "near": "answer_16_1 = 0.011",
    },
    "16.2": {
        "wrong": [
            "def merge_statistics(counts, means, variances):\n"
            "    return means.mean(axis=0), variances.mean(axis=0)\n",
            MERGE + "    return mean, (w * variances).sum(axis=0)\n",
        ],
        "near": MERGE
        + "    n = counts.sum()\n"
        + "    var = (w * (variances + (means - mean) ** 2)).sum(axis=0)\n"
        + "    return mean, var * n / (n - 1)\n",
    },
    "16.3": {
        "wrong": [
            TIME + "    return -batch_size / np.log(momentum)\n",
            TIME + "    return -1 / np.log(1 - momentum)\n",
        ],
        "near": TIME + "    return batch_size / momentum\n",
    },
    "16.4": {"wrong": ['answer_16_4 = "a"', 'answer_16_4 = "c"']},
}
