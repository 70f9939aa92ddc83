"""Wrong answers to the exercises of chapter 5."""

LAYER = """\
def layer_norm_backward(dy, x_hat, gamma, inv_std):
    g = {g}
    mean = g.mean({axis}, keepdims=True)
    along = (g * x_hat).mean({axis}, keepdims=True)
    return {dx}, {rest}
"""
PARTS = {
    "g": "dy * gamma",
    "axis": "1",
    "dx": "inv_std * (g - mean - x_hat * along)",
    "rest": "(dy * x_hat).sum(0), dy.sum(0)",
}
CENTRE = "def centre_backward(dy):\n"


def layer(**changed):
    return LAYER.format(**{**PARTS, **changed})


ANSWERS = {
    "5.1": {
        "wrong": [f'answer_5_1 = "{letter}"' for letter in "ad"] + ["answer_5_1 = 0"],
        "near": 'answer_5_1 = "c"',
    },
    "5.2": {
        "wrong": [
            layer(g="dy + 0", dx="gamma * inv_std * (g - mean - x_hat * along)"),
            layer(axis="0"),
            layer(dx="inv_std * g"),
            layer(dx="inv_std * (g - mean)"),
            layer(dx="inv_std * (g - x_hat * along)"),
        ],
        "near": layer(rest="(dy * x_hat).sum(1), dy.sum(1)"),
    },
    "5.3": {"wrong": [f'answer_5_3 = "{letter}"' for letter in "abc"]},
    "5.4": {
        "wrong": [
            CENTRE + "    return dy, dy.sum(0)\n",
            CENTRE + "    return dy - dy.mean(1, keepdims=True), dy.sum(0)\n",
        ],
        "near": CENTRE + "    return dy - dy.mean(0), dy.mean(0)\n",
        "named": {CENTRE + "    return dy - dy.mean(), dy.sum(0)\n": "one mean of all"},
    },
}
