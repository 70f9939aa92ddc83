"""Wrong answers and near misses for the exercises of chapter 1."""

STANDARDISE = """\
def standardise(train, test):
    made = []
    for z, own in ((train, train), (test, {own})):
        mean, std = np.nanmean(own, axis=0), np.nanstd(own, axis=0, ddof={ddof})
        std = np.where(std > 0, std, 1.0)
        made.append((np.where(np.isnan(z), {fill}, z) - mean) / std)
    return tuple(made)
"""
RATE = """\
def largest_rate(x, decay):
    A = np.column_stack([x, np.ones(len(x))])
    return 2 / np.linalg.eigvalsh(A.T @ A{n} + np.diag({decay}))[{at}]
"""

ANSWERS = {
    "1.1": {
        "wrong": ["answer_1_1 = 1e-3", "answer_1_1 = 1e6", "answer_1_1 = 'smaller'"],
        "near": "answer_1_1 = 1.05e-6",
    },
    "1.2": {
        "wrong": [
            STANDARDISE.format(own="test", ddof=0, fill="mean"),
            "def standardise(train, test):\n"
            "    train, test = np.nan_to_num(train), np.nan_to_num(test)\n"
            "    mean, std = train.mean(axis=0), train.std(axis=0)\n"
            "    std = np.where(std > 0, std, 1.0)\n"
            "    return (train - mean) / std, (test - mean) / std\n",
            STANDARDISE.format(own="train", ddof=0, fill="0.0"),
            "def standardise(train, test):\n"
            "    mean, std = np.nanmean(train, axis=0), np.nanstd(train, axis=0)\n"
            "    std = np.where(std > 0, std, 1.0)\n"
            "    return (train - mean) / std, (test - mean) / std\n",
        ],
        "near": STANDARDISE.format(own="train", ddof=1, fill="mean"),
    },
    "1.3": {
        "wrong": [
            RATE.format(n="", decay="[decay] * x.shape[1] + [0]", at=-1),
            RATE.format(n=" / len(x)", decay="[decay] * x.shape[1] + [0]", at=0),
            RATE.format(n=" / len(x)", decay="[0] * (x.shape[1] + 1)", at=-1),
        ],
        "near": RATE.format(n=" / len(x)", decay="[decay] * (x.shape[1] + 1)", at=-1),
    },
    "1.4": {
        "wrong": ["answer_1_4 = 0.99", "answer_1_4 = 0.5"],
        "near": "answer_1_4 = 0.975",
    },
}
