"""Wrong answers and near misses for the exercises of chapter 1."""

ANSWERS = {
    "1.1": {
        "wrong": ["answer_1_1 = 1e-3", "answer_1_1 = 1e6", "answer_1_1 = 'smaller'"],
        "near": "answer_1_1 = 1.05e-6",
    },
    "1.2": {
        "wrong": [
            "def standardise(train, test):\n"
            "    return tuple((z - z.mean(axis=0)) / np.where(z.std(axis=0) > 0,"
            " z.std(axis=0), 1.0) for z in (train, test))\n",
            "def standardise(train, test):\n"
            "    return tuple((z - z.mean(axis=1, keepdims=True)) /"
            " z.std(axis=1, keepdims=True) for z in (train, test))\n",
            "def standardise(train, test):\n"
            "    mean, std = train.mean(axis=0), train.std(axis=0)\n"
            "    with np.errstate(all='ignore'):\n"
            "        return (train - mean) / std, (test - mean) / std\n",
            "def standardise(train, test):\n"
            "    mean, var = train.mean(axis=0), train.var(axis=0)\n"
            "    return (train - mean) / var, (test - mean) / var\n",
            "def standardise(train, test):\n"
            "    both = np.concatenate([train, test])\n"
            "    mean, std = both.mean(axis=0), both.std(axis=0)\n"
            "    return (train - mean) / std, (test - mean) / std\n",
        ],
        "near": "def standardise(train, test):\n"
        "    mean, std = train.mean(axis=0), train.std(axis=0, ddof=1)\n"
        "    std = np.where(std > 0, std, 1.0)\n"
        "    return (train - mean) / std, (test - mean) / std\n",
    },
    "1.3": {
        "wrong": [
            "def largest_rate(x):\n"
            "    A = np.column_stack([x, np.ones(len(x))])\n"
            "    return 2 / np.linalg.eigvalsh(A.T @ A)[-1]\n",
            "def largest_rate(x):\n"
            "    A = np.column_stack([x, np.ones(len(x))])\n"
            "    return 2 / np.linalg.eigvalsh(A.T @ A / len(x))[0]\n",
            "def largest_rate(x):\n"
            "    A = np.column_stack([x, np.ones(len(x))])\n"
            "    return 2 / np.linalg.norm(A, 2)\n",
        ],
        "near": "def largest_rate(x):\n"
        "    return 2 / np.linalg.eigvalsh(x.T @ x / len(x))[-1]\n",
    },
    "1.4": {
        "wrong": ["answer_1_4 = 0.99", "answer_1_4 = 0.5"],
        "near": "answer_1_4 = 0.975",
    },
}
