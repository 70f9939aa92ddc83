"""Wrong answers to the exercises of chapter 5."""

CLOSED = "def backward(dy, x_hat, gamma, inv_std):\n"
CENTRE = "def centre_backward(dy):\n"
SUMS = "    return dx, (dy * x_hat).sum(0), dy.sum(0)\n"

ANSWERS = {
    "5.1": {
        "wrong": ['answer_5_1 = "a"', "answer_5_1 = 0"],
        "near": 'answer_5_1 = "b"',
    },
    "5.2": {
        "wrong": [
            CLOSED + "    dx = dy * gamma * inv_std\n" + SUMS,
            CLOSED + "    dx = gamma * inv_std * (dy - dy.mean(0))\n" + SUMS,
        ],
        "near": CLOSED
        + "    dx = inv_std * (dy - dy.mean(0) - x_hat * (dy * x_hat).mean(0))\n"
        + SUMS,
    },
    "5.3": {
        "wrong": ["answer_5_3 = 0.0", "answer_5_3 = 0.75"],
        "near": "answer_5_3 = 0.27",
    },
    "5.4": {
        "wrong": [
            CENTRE + "    return dy, dy.sum(0)\n",
            CENTRE + "    return dy - dy.mean(1, keepdims=True), dy.sum(0)\n",
        ],
        "near": CENTRE + "    return dy - dy.mean(0), dy.mean(0)\n",
    },
}
