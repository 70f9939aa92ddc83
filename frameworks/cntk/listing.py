"""Train a net with batch norm on the digits, in CNTK."""

import cntk as C
import numpy as np

C.cntk_py.set_fixed_random_seed(1)
C.try_set_default_device(C.cpu())
digits = np.load("digits.npz")
one_hot = np.eye(10, dtype="float32")[digits["y_train"]]
x, y = C.input_variable(64), C.input_variable(10)
# There is no momentum but a time constant, in images: after a batch of 60 the old
# average has the weight exp(-60 / T), and this T makes it 0.9.
T = -60 / np.log(0.9)


def block(name):
    norm = C.layers.BatchNormalization(normalization_time_constant=T, name=name)
    # No bias: batch norm would subtract it again, and has one of its own.
    return C.layers.Dense(100, bias=False) >> norm >> C.relu


scores = (block("norm1") >> block("norm2") >> C.layers.Dense(10))(x)
loss = C.cross_entropy_with_softmax(scores, y)
learner = C.sgd(scores.parameters, C.learning_parameter_schedule(0.1))
trainer = C.Trainer(scores, (loss, C.classification_error(scores, y)), [learner])
for i in list(range(0, 1380, 60)) * 15:
    batch = slice(i, i + 60)
    trainer.train_minibatch({x: digits["x_train"][batch], y: one_hot[batch]})

# eval() uses the averages; only the trainer normalizes with the batch.
rows, alone = scores.eval(digits["x_test"]), scores.eval(digits["x_test"][:1])
print("test accuracy above 90 %:", (rows.argmax(1) == digits["y_test"]).mean() > 0.9)
norm = scores.find_by_name("norm1")
state = {v.name: v.value for v in norm.parameters + norm.constants}
print("the layer stores:", ", ".join(state))
print("images that it counted:", int(state["aggregate_count"]))
print("one image alone gives its row:", np.allclose(alone, rows[:1], atol=1e-5))
