"""CNTK: a trainer and its minibatches."""

import cntk as C
import numpy as np
import timing

C.try_set_default_device(C.cpu())


def make(norm, x, y):
    """Return the training step of one net."""
    one_hot = np.eye(10, dtype="float32")[y]
    images, labels = C.input_variable(784), C.input_variable(10)
    h = images
    for _, n_out in timing.HIDDEN:
        h = C.layers.Dense(n_out, bias=not norm)(h)
        h = C.relu(C.layers.BatchNormalization()(h) if norm else h)
    scores = C.layers.Dense(10)(h)
    loss = C.cross_entropy_with_softmax(scores, labels)
    rate = C.learning_parameter_schedule(timing.LR)
    trainer = C.Trainer(scores, loss, [C.sgd(scores.parameters, rate)])

    def step(i):
        trainer.train_minibatch({images: x[i], labels: one_hot[i]})
        return trainer.previous_minibatch_loss_average

    return step
