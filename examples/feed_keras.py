"""rnnkit as a feed for a Keras loop of your own: data sets with other classes, one recurrent layer for all of them.

Each data set is a panel: waves with a label each, 2 kinds in one and 3 in the other. An LSTM layer is shared, each data
set has a dense head of its own, and the loss counts at the last row of a wave (many to one: `batch.weight`). Waves are
read in halves. The second half goes on from the state after the first, and a new wave starts from zeros. (Lanes of
whole waves make every window one piece. Waves of other lengths, or more of them, would be right too, in more pieces.)

    pip install keras torch && python examples/feed_keras.py
"""

import os

os.environ["KERAS_BACKEND"] = "torch"  # before Keras is imported

import keras
import numpy as np
import torch
from keras import ops

import rnnkit as rk

ROWS, LANES, HIDDEN, EPOCHS = 24, 12, 16, 20
SHAPES = {
    "sine": lambda phase: np.sin(2 * np.pi * phase),
    "square": lambda phase: np.sign(np.sin(2 * np.pi * phase)),
    "saw": lambda phase: 2 * (phase % 1) - 1,
}


def waves(kinds: tuple[str, ...], count: int, seed: int) -> rk.Sequence:
    """So many noisy waves of each kind, of any period and phase; the label is the number of the kind."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count * len(kinds)) % len(kinds))
    phases = rng.random(len(labels))[:, None] + np.arange(ROWS) / rng.uniform(6, 12, len(labels))[:, None]
    x = np.stack([SHAPES[kinds[label]](phase) for label, phase in zip(labels, phases, strict=True)])
    x += 0.1 * rng.standard_normal(x.shape)
    return rk.Sequence.panel(x[:, :, None], labels, name=" or ".join(kinds))  # scored at the last row of each


def scheduled(series: rk.Sequence) -> rk.Schedule:
    """Lanes walk waves end to end, half a wave a step."""
    return rk.Schedule(series, rk.Continuation(length=ROWS // 2, lanes=LANES), rk.Carry())


def logits_of(batch: rk.Batch, lanes: rk.LaneState, head: keras.layers.Layer) -> torch.Tensor:
    """Outputs of a window, time-major `(T, B, classes)` like everything in a batch."""
    outputs = []
    for rows, state in lanes.walk(batch):
        x = ops.convert_to_tensor(batch.x[rows].transpose(1, 0, 2))  # Keras wants (B, T, F)
        y, *state = lstm(x, initial_state=state)  # the state is a list [h, c], (B, H) each: the lanes are axis 0
        lanes.put(state)
        outputs.append(ops.transpose(head(y), (1, 0, 2)))
    return ops.concatenate(outputs, axis=0)


def fresh() -> rk.LaneState:
    return rk.LaneState([ops.zeros((LANES, HIDDEN)), ops.zeros((LANES, HIDDEN))])


torch.set_num_threads(1)  # arrays this small leave threads nothing to do but wait for each other
keras.utils.set_random_seed(0)
lstm = keras.layers.LSTM(HIDDEN, return_sequences=True, return_state=True)
lstm.build((LANES, ROWS // 2, 1))
tasks = []
for kinds in (("sine", "square"), ("sine", "square", "saw")):
    head = keras.layers.Dense(len(kinds))
    head.build((LANES, ROWS // 2, HIDDEN))
    tasks.append((waves(kinds, 96, seed=1), waves(kinds, 36, seed=2), head))
weights = [*lstm.trainable_weights, *(weight for *_, head in tasks for weight in head.trainable_weights)]
optimizer = keras.optimizers.Adam(1e-2)
optimizer.build(weights)

for epoch in range(EPOCHS):
    for train, _, head in tasks:
        lanes = fresh()
        for batch in scheduled(train).batches(epoch):
            logits = logits_of(batch, lanes, head)  # also where nothing is scored: the state goes on
            if not batch.weight.any():
                continue
            weight = ops.convert_to_tensor(batch.weight)
            errors = ops.sparse_categorical_crossentropy(ops.convert_to_tensor(batch.y), logits, from_logits=True)
            loss = ops.sum(errors * weight) / ops.sum(weight)
            trained = [*lstm.trainable_weights, *head.trainable_weights]
            gradients = torch.autograd.grad(loss, [weight.value for weight in trained])
            with torch.no_grad():
                optimizer.apply(gradients, trained)

for _, test, head in tasks:
    lanes, right = fresh(), 0.0
    for batch in scheduled(test).batches():
        with torch.no_grad():
            classes = ops.argmax(logits_of(batch, lanes, head), axis=2)
        hits = ops.cast(ops.equal(classes, ops.convert_to_tensor(batch.y)), "float32")
        right += float(ops.sum(hits * ops.convert_to_tensor(batch.weight)))
    print(f"{test.name}: {right / len(test.segments):.1%} of {len(test.segments)} waves right")
