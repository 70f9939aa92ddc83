"""Wrong answers and near misses for the exercises of chapter 2."""

LOOP = (
    "def standardise_by_domain(x, domain):\n"
    "    z = np.empty_like(x)\n"
    "    for k in np.unique(domain):\n"
    "        own = domain == k\n"
    "        z[own] = {}\n"
    "    return z\n"
)

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
        "near": "def standardise_by_domain(x, domain):\n"
        "    parts = [x[domain == k] for k in np.unique(domain)]\n"
        "    return np.concatenate([(p - p.mean(0)) / p.std(0) for p in parts])\n",
    },
    "2.3": {
        "wrong": [
            "def gradient_noise(g, m):\n"
            "    s2 = ((g - g.mean(axis=0)) ** 2).sum(axis=1).mean()\n"
            "    return s2 / m * (len(g) - m) / (len(g) - 1)\n",
            "def gradient_noise(g, m):\n"
            "    s2 = ((g - g.mean(axis=0)) ** 2).mean()\n"
            "    return np.sqrt(s2 / m * (len(g) - m) / (len(g) - 1))\n",
            "def gradient_noise(g, m):\n"
            "    s2 = (g ** 2).sum(axis=1).mean()\n"
            "    return np.sqrt(s2 / m * (len(g) - m) / (len(g) - 1))\n",
        ],
        "near": "def gradient_noise(g, m):\n"
        "    s2 = ((g - g.mean(axis=0)) ** 2).sum(axis=1).mean()\n"
        "    return np.sqrt(s2 / m)\n",
    },
    "2.4": {"wrong": ["answer_2_4 = 'a'"], "near": "answer_2_4 = 'c'"},
}
