"""Wrong answers to the exercises of chapter 17."""

HEADS = {
    1: "def mended_1(rows, size):\n",
    2: "def mended_2(weight, bias, gamma, beta, mean, var):\n",
    3: "def mended_3(x, mean, var):\n",
    4: "def mended_4(x):\n",
    5: "def mended_5(folds):\n",
    6: "def mended_6(x):\n",
    8: "def mended_8(x_hat, gamma, beta, weight, bias):\n",
}


def answer(number, *lines):
    """Write a function of a patient."""
    return HEADS[number] + "".join(f"    {line}\n" for line in lines)


NORM = "norm = nn.BatchNorm1d(rows.shape[1], dtype=torch.float64)"
FILLED = "rows = np.concatenate([rows, np.zeros((size - n, rows.shape[1]))])"
SCALE = ("scale = gamma / np.sqrt(var + 1e-5)", "shift = beta - scale * mean")
OLD = (
    "old = nn.BatchNorm1d(x.shape[1], affine=False, dtype=torch.float64)",
    "old.running_mean.copy_(torch.from_numpy(mean))",
    "old.running_var.copy_(torch.from_numpy(var))",
)
TARGETS = "targets = [old(torch.from_numpy(x)) for _ in range(3)][-1]"
STORED = "targets.numpy(), old.running_mean.numpy()"
FOLD = (
    "net = nn.BatchNorm1d(folds.shape[2], dtype=torch.float64)",
    "found = []",
    "for fold in torch.from_numpy(folds):",
)
BATCHES = (
    "    for batch in fold.split(10):",
    "        net(batch)",
    "    found.append(net.running_mean.numpy().copy())",
)
ONE_PASS = (
    "mean = x.mean(axis=0)",
    "var = (x * x).mean(axis=0) - mean * mean",
)
REST = ("rest = x - x.mean(axis=0)", "var = (rest * rest).mean(axis=0)")
THIN = (
    "kept = gamma != 0",
    "h = np.maximum(gamma * x_hat + beta, 0)[:, kept]",
    "thin = h @ weight[:, kept].T + bias",
)
CONSTANT = "np.maximum(beta[~kept], 0) @ weight[:, ~kept].T"

ANSWERS = {
    "17.1": {
        "wrong": [
            answer(1, "n = len(rows)", FILLED, NORM,
                   'return "b", norm(torch.from_numpy(rows))[:n]'),
            answer(1, NORM, 'return "b", norm.eval()(torch.from_numpy(rows))'),
        ],
        "near": answer(1, NORM, 'return "a", norm(torch.from_numpy(rows))'),
    },
    "17.2": {
        "wrong": [
            answer(2, *SCALE,
                   'return "d", weight * scale, bias + weight * scale @ shift'),
            answer(2, *SCALE, 'return "d", weight * scale, weight @ shift'),
        ],
        "near": answer(2, *SCALE,
                       'return "a", weight * scale, bias + weight @ shift'),
    },
    "17.3": {
        "wrong": [
            answer(3, *OLD, TARGETS, f'return "a", {STORED}'),
            answer(3, *OLD, "old.momentum = 0.0", TARGETS, f'return "a", {STORED}'),
        ],
        "near": answer(3, *OLD, "old.eval()", TARGETS, f'return "c", {STORED}'),
    },
    "17.4": {
        "wrong": [
            answer(4, "norm = nn.GroupNorm(1, x.shape[1], dtype=torch.float64)",
                   'return "c", norm(torch.from_numpy(x))'),
            answer(4, "norm = nn.InstanceNorm1d(x.shape[1], dtype=torch.float64)",
                   'return "c", norm(torch.from_numpy(x))'),
        ],
        "near": answer(4, "mean, var = x.mean(1), x.var(1)",
                       "out = (x - mean[:, None]) / np.sqrt(var + 1e-5)[:, None]",
                       'return "b", out'),
    },
    "17.5": {
        "wrong": [
            answer(5, *FOLD, *BATCHES, 'return "d", np.stack(found)'),
            answer(5, 'return "d", folds.mean(axis=1)'),
        ],
        "near": answer(5, *FOLD, "    net.reset_parameters()", *BATCHES,
                       'return "a", np.stack(found)'),
    },
    "17.6": {
        "wrong": [
            answer(6, *ONE_PASS, 'return "a", (x - mean) / np.sqrt(var + 1e-5)'),
            answer(6, *REST, 'return "a", rest / np.sqrt(var + 1)'),
        ],
        "near": answer(6, *REST, 'return "b", rest / np.sqrt(var + 1e-5)'),
    },
    "17.7": {
        "wrong": ["answer_17_7 = 0.0125", "answer_17_7 = 0.026", "answer_17_7 = 0.1"],
        "near": "answer_17_7 = 0.0133",
    },
    "17.8": {
        "wrong": [
            answer(8, *THIN, 'return "c", thin'),
            answer(8, *THIN, f'return "c", thin + {CONSTANT}'.replace(
                "np.maximum(beta[~kept], 0)", "beta[~kept]")),
        ],
        "near": answer(8, *THIN, f'return "d", thin + {CONSTANT}'),
    },
    "17.9": {"wrong": ['answer_17_9 = "a"', 'answer_17_9 = "d"']},
    "17.10": {"wrong": ['answer_17_10 = "b"', 'answer_17_10 = "d"']},
}  # fmt: skip
