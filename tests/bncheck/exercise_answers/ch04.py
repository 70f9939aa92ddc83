"""Wrong answers to the exercises of chapter 4."""

REPAIRED = """\
def repaired(x, gamma, beta, mean, var, training, rho, eps):
    mu, sigma2 = x.mean(axis=0), x.var(axis=0)
    old, new = {weights}
    new_mean = old * mean + new * mu
    new_var = old * var + new * {stored}
    if not training:
        {evaluation}
    x_hat = (x - mu) / np.sqrt(sigma2 + eps)
    return gamma * x_hat + beta, new_mean, new_var
"""
KERAS, TORCH = "rho, 1 - rho", "1 - rho, rho"
BIASED, UNBIASED = "x.var(axis=0)", "x.var(axis=0, ddof=1)"
MOVES = "mu, sigma2 = mean, var"
STAYS = MOVES + "; new_mean, new_var = mean, var"


def repaired(weights, stored, evaluation):
    return REPAIRED.format(weights=weights, stored=stored, evaluation=evaluation)


FOLD = "def fold(W, b, mean, var, gamma, beta, eps):\n"

ANSWERS = {
    "4.1": {
        "wrong": ["answer_4_1 = 3.0", "answer_4_1 = 7.29", "answer_4_1 = 9.99"],
        "near": "answer_4_1 = 2.8",
    },
    "4.2": {
        "wrong": [
            repaired(KERAS, BIASED, MOVES),  # the function of the page
            repaired(TORCH, BIASED, MOVES),
            repaired(KERAS, UNBIASED, MOVES),
            repaired(KERAS, BIASED, STAYS),
            repaired(TORCH, UNBIASED, "new_mean, new_var = mean, var"),
        ],
        "near": repaired(TORCH, UNBIASED, MOVES),
        "named": {
            repaired(TORCH, UNBIASED, STAYS).replace(" + eps", ""): "eps is not used",
            repaired(TORCH, UNBIASED, STAYS).replace(
                "np.sqrt(sigma2 + eps)", "(np.sqrt(sigma2) + eps)"
            ): "outside the root",
        },
    },
    "4.3": {
        "wrong": [
            FOLD + "    s = gamma / np.sqrt(var + eps)\n"
            "    return s[:, None] * W, beta - s * mean\n",
            FOLD + "    s = gamma / np.sqrt(var + eps)\n"
            "    return W, s * (b - mean) + beta\n",
            FOLD + "    s = gamma / (var + eps)\n"
            "    return s[:, None] * W, s * (b - mean) + beta\n",
        ],
        "near": FOLD + "    s = gamma / (np.sqrt(var) + eps)\n"
        "    return s[:, None] * W, s * (b - mean) + beta\n",
        "named": {
            FOLD + "    s = gamma / np.sqrt(var)\n"
            "    return s[:, None] * W, s * (b - mean) + beta\n": "eps is not used",
        },
    },
    "4.4": {"wrong": ['answer_4_4 = "b"', 'answer_4_4 = "c"']},
}
