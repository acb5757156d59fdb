"""Two data sets of labelled sequences, one with two classes and one with three, and one LSTM for both.

Each sample is a wave of its own length in noise; its class is the wave's form. The data sets share the recurrent layer
and have an output head each; the loss counts at the last row of a sample, and state never goes from one sample to the
next. Run it: `python examples/classify_sequences.py`; it takes seconds.
"""

import numpy as np

import rnnkit as rk

FORMS = {
    "sine": np.sin,
    "square": lambda t: np.sign(np.sin(t)),
    "sawtooth": lambda t: (t / np.pi) % 2 - 1,
}


def panel(forms: list[str], samples: int, seed: int) -> rk.Sequence:
    """Samples `(steps, 1)` of 30 to 60 rows, each with the place of its form in `forms` as its label."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(forms), samples)
    waves = []
    for label in labels:
        t = np.arange(rng.integers(30, 60)) * rng.uniform(0.4, 0.8) + rng.uniform(0, 6)
        waves.append((FORMS[forms[label]](t) + 0.2 * rng.standard_normal(len(t)))[:, None])
    return rk.Sequence.panel(waves, labels)


classes = {"smooth or not": ["sine", "square"], "which form": ["sine", "square", "sawtooth"]}
curriculum = rk.Curriculum(
    [
        rk.DataSet(panel(forms, 400, seed), name, head=head, scaler=None, split=(0.7, 0.0))
        for seed, (head, (name, forms)) in enumerate(zip(("two", "three"), classes.items(), strict=True))
    ],
    rk.Chunked(length="segment", lanes=16, shuffle=True),  # a window holds a whole sample: the gradient sees all of it
    rk.Reset(),
    interleave=rk.RoundRobin(),  # a batch of each in turn: neither is forgotten while the other trains
)
model = rk.Chain(rk.LSTM(1, 24), rk.Heads(two=rk.Dense(24, 2), three=rk.Dense(24, 3)))
run = rk.fit(model, curriculum, loss="cross_entropy", rule=rk.Adam(1e-2), clip=rk.ClipNorm(1.0), epochs=30)

for name, forms in classes.items():
    test = curriculum.open(name).test
    assert test is not None  # split leaves it 30 % of the samples
    wrong = rk.evaluate(run.on(name), test).model.mae
    ends = [segment.stop - 1 for segment in test.segments]  # the last row of each sample
    classes_found = rk.predict(run.on(name), test)[ends].argmax(1)
    counts = ", ".join(
        f"{n} {form}" for n, form in zip(np.bincount(classes_found, minlength=len(forms)), forms, strict=True)
    )
    print(f"{name}: {1 - wrong:.1%} of {len(ends)} new samples right; found {counts}")
