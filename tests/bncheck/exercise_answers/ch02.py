"""Wrong answers and near misses for the exercises of chapter 2."""

LOOP = (
    "def standardise_by_domain(x, domain):\n"
    "    z = np.empty_like(x)\n"
    "    for k in np.unique(domain):\n"
    "        own = domain == k\n"
    "        z[own] = {}\n"
    "    return z\n"
)

BATCH = """\
def smallest_batch(g, target):
    n, s2 = len(g), ((g - g.mean(axis=0)) ** 2){}
    m = s2 * n / ({} * (n - 1) + s2)
    return {}
"""

ANSWERS = {
    "2.1": {
        "wrong": ["answer_2_1 = 96", "answer_2_1 = 11", "answer_2_1 = 32 * 3**0.5"],
        "near": "answer_2_1 = 290",
    },
    "2.2": {
        "wrong": [
            "def standardise_by_domain(x, domain):\n"
            "    return (x - x.mean(axis=0)) / x.std(axis=0)\n",
            LOOP.format("x[own] - x[own].mean(axis=0)"),
            LOOP.format("(x[own] - x[own].mean(axis=0)) / x.std(axis=0)"),
            LOOP.format("(x[own] - x[own].mean()) / x[own].std()"),
        ],
        "named": {
            LOOP.format("(x[own] - x[own].mean(0)) / (x[own].std(0) + 1e-5)"): "an eps",
            LOOP.format(
                "(x[own] - x[own].mean(0)) / np.sqrt(x[own].var(0) + 1e-5)"
            ): "an eps",
        },
        "near": "def standardise_by_domain(x, domain):\n"
        "    parts = [x[domain == k] for k in np.unique(domain)]\n"
        "    return np.concatenate([(p - p.mean(0)) / p.std(0) for p in parts])\n",
    },
    "2.3": {
        "wrong": [
            BATCH.format(".sum(axis=1).mean()", "target", "int(np.ceil(m))"),
            BATCH.format(".mean()", "target**2", "int(np.ceil(m))"),
            BATCH.replace(" - g.mean(axis=0)", "").format(
                ".sum(axis=1).mean()", "target**2", "int(np.ceil(m))"
            ),
        ],
        "near": BATCH.format(".sum(axis=1).mean()", "target**2", "int(m)"),
        "named": {
            BATCH.format(
                ".sum() / (len(g) - 1)", "target**2", "int(np.ceil(m))"
            ): "is n - 1",
        },
    },
    "2.4": {"wrong": ["answer_2_4 = 'b'"], "near": "answer_2_4 = 'a'"},
}
