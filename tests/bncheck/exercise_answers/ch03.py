"""Wrong answers to the exercises of chapter 3."""

WEIGHTED = """\
def weighted(x, w, gamma, beta, eps):
    share = {}
    mu = {}
    var = {}
    x_hat = (x - mu) / np.sqrt(var + eps)
    return {}
"""
SHARE, MEAN, OUT = "w / w.sum()", "share @ x", "gamma * x_hat + beta"
VAR = "share @ (x - mu) ** 2"
MERGE = "def merge(mu1, var1, m1, mu2, var2, m2):\n"
MERGED = (
    MERGE + "    s = m1 / (m1 + m2)\n"
    "    var = s * var1 + (1 - s) * var2 + s * (1 - s) * {}\n"
    "    return s * mu1 + (1 - s) * mu2, var{}\n"
)

ANSWERS = {
    "3.1": {
        "wrong": ["answer_3_1 = 1.5", "answer_3_1 = 6.0", "answer_3_1 = 0.5"],
        "near": "answer_3_1 = 1.7",
    },
    "3.2": {
        "wrong": [
            WEIGHTED.format(SHARE, "x.mean(0)", "x.var(0)", OUT),
            WEIGHTED.format("w / len(w)", MEAN, VAR, OUT),
            WEIGHTED.format(SHARE, MEAN, VAR, "w[:, None] * x_hat * gamma + beta"),
            "def weighted(x, w, gamma, beta, eps):\n"
            "    x = w[:, None] * x\n"
            "    return gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + eps) + beta\n",
        ],
        "near": WEIGHTED.format(SHARE, MEAN, "((x - mu) ** 2).mean(0)", OUT),
        "named": {
            WEIGHTED.format(SHARE, MEAN, VAR, "gamma * x_hat"): "Beta is missing",
            WEIGHTED.format(SHARE, MEAN, VAR, "x_hat + beta"): "Gamma is missing",
            WEIGHTED.format(
                SHARE, "x.mean(1, keepdims=True)", "x.var(1, keepdims=True)", OUT
            ): "along a row",
        },
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
        "named": {
            MERGED.format("(mu1 - mu2)", ""): "has to be squared",
            MERGED.format("abs(mu1 - mu2)", ""): "has to be squared",
            MERGED.format("(mu1 - mu2) ** 2", " ** 0.5"): "standard deviation",
        },
    },
    "3.5": {"wrong": ["answer_3_5 = 'a'", "answer_3_5 = 'b'", "answer_3_5 = 'c'"]},
}
