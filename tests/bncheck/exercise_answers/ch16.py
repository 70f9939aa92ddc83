"""Wrong answers to the exercises of chapter 16."""

UNKNOWN = """\
def to_unknown(running_mean, running_var, momentum, eps, tiny):
    return running_mean, {}, {}
"""
SPREAD = "(running_var + eps) ** 0.5 - tiny"
MEMORY = "def same_memory(momentum, old_size, new_size):\n    return {}\n"

ANSWERS = {
    "16.1": {
        "wrong": ["answer_16_1 = 0.9**3", "answer_16_1 = 0.1", "answer_16_1 = 0.999"],
        "near": "answer_16_1 = 0.00105",
    },
    "16.2": {
        "wrong": [
            UNKNOWN.format("running_var + eps - tiny", "1 - momentum"),
            UNKNOWN.format("(running_var + eps - tiny) ** 0.5", "1 - momentum"),
        ],
        "near": UNKNOWN.format(SPREAD, "momentum"),
    },
    "16.3": {
        "wrong": [
            MEMORY.format("momentum"),
            MEMORY.format("1 - (1 - momentum) ** (old_size / new_size)"),
            MEMORY.format("(1 - momentum) ** (new_size / old_size)"),
        ],
        "near": MEMORY.format("momentum * new_size / old_size"),
    },
    "16.4": {"wrong": ['answer_16_4 = "a"', 'answer_16_4 = "b"']},
}
