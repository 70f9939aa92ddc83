"""Wrong answers to the exercises of chapter 8."""

HEAD = "def path_smoothness(points, gradients):\n"
LENGTHS = (
    HEAD
    + "    moved = np.linalg.norm(np.diff(points, axis=0), axis=1)\n"
    + "    changed = np.linalg.norm(np.diff(gradients, axis=0), axis=1)\n"
)

ANSWERS = {
    "8.1": {
        "wrong": ["answer_8_1 = 28", "answer_8_1 = 12", "answer_8_1 = 24"],
        "near": "answer_8_1 = 8.5",
    },
    "8.2": {
        "wrong": [
            HEAD
            + "    moved = np.linalg.norm(points[1:] - points[0], axis=1)\n"
            + "    changed = np.linalg.norm(gradients[1:] - gradients[0], axis=1)\n"
            + "    return (changed[moved > 0] / moved[moved > 0]).max()\n",
            LENGTHS + "    return changed.max()\n",
            HEAD
            + "    moved = np.linalg.norm(points[:, None] - points, axis=2)\n"
            + "    changed = np.linalg.norm(gradients[:, None] - gradients, axis=2)\n"
            + "    return (changed[moved > 0] / moved[moved > 0]).max()\n",
        ],
        "near": LENGTHS
        + "    known = moved > 0\n"
        + "    return (changed[known] / moved[known]).mean()\n",
    },
    "8.3": {
        "wrong": ['answer_8_3 = "c"', 'answer_8_3 = "shift"'],
        "near": 'answer_8_3 = "a"',
    },
}
