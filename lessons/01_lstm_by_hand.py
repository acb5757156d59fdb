import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="An LSTM by hand")

with app.setup:
    from pathlib import Path

    import marimo as mo
    import numpy as np
    from exercise import Exercise, differs, show, summary

    import rnnkit as rk
    from rnnkit.tracing import worked_step
    from rnnkit.tracing.worked import example
    from rnnkit.view.plots import MODEL, NAIVE, TRUTH, legend, new_figure, tidy

    DATA = Path(__file__).parent.parent / "examples" / "data"


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    # 1. An LSTM by hand

    An LSTM is six equations. In this lesson you read them, fill in numbers, and write them in NumPy, one row at a time.
    At the end your own function predicts how many taxis New York takes, and agrees with rnnkit to the last digits.

    You need Python, NumPy, and a rough idea of what a neural net is. About 15 minutes, with four small exercises. Under
    each stands what your code gives so far; change the function, run its cell, and the verdict changes with it.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## A net with a memory

    A plain net maps one input to one output, and forgets. A **recurrent** net reads a series row by row, and hands
    itself a note from row to row, the **state**:

    ```
              x[0]        x[1]        x[2]
               │           │           │
    state ─► ┌─┴──┐ ───► ┌─┴──┐ ───► ┌─┴──┐ ───► state
             │step│      │step│      │step│
             └─┬──┘      └─┬──┘      └─┬──┘
              h[1]        h[2]        h[3]
    ```

    It is one and the same `step` every time, with the same weights. If you know `functools.reduce`, you know the idea:
    a recurrent net is a fold over time. All that differs from net to net is what `step` does.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## What an LSTM keeps

    The state of an LSTM is two vectors with one number for each of its $H$ **units**:

    - $c$, the **cell**: what is remembered. It is changed by adding and by scaling, nothing else;
    - $h$, the **hidden state**: what the cell shows to the outside. It is the output of the layer, and what the next
      step looks at.

    Three **gates**, numbers between 0 and 1 for each unit, say what happens to the cell. $f$, the **forget gate**:
    how much of it is kept. $i$, the **input gate**: how much of something new is written. $o$, the **output gate**:
    how much is shown. The something new is $g$, the **candidate**, a number between −1 and 1.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## The equations of one step

    $h^-$ and $c^-$ are the state before the row, $x$ is the row, $\odot$ multiplies number by number.

    $$
    \begin{aligned}
    (2)\quad & a = W_{ih}\,x + b_{ih} + W_{hh}\,h^- + b_{hh} && \text{one row of weights for each gate of each unit}\\
    (3)\quad & i = \sigma(a_i),\quad f = \sigma(a_f),\quad g = \tanh(a_g),\quad o = \sigma(a_o) && \text{squashed}\\
    (4)\quad & c = f \odot c^- + i \odot g && \text{keep some, write some}\\
    (5)\quad & h = o \odot \tanh(c) && \text{show some}
    \end{aligned}
    $$

    $\sigma(a) = 1 / (1 + e^{-a})$ squashes any number into 0 to 1, $\tanh$ into −1 to 1. These four are the heart.
    Two more, (1) and (6), come at the end of this lesson: they say what happens where a series begins, and where it
    has run out. The numbers are the same everywhere in rnnkit.
    """)
    return


@app.cell
def _():
    layer_params, _ = rk.setup(rk.Chain(rk.LSTM(1, 2)), seed=0)  # one input, two units
    {key: array.shape for key, array in layer_params.items()}
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    These are the shapes for one input and $H = 2$ units. The four gates stand below each other in one matrix of $4H$
    rows, in the order i, f, g, o, so that (2) is one product for all of them. That there are two biases, which are only
    ever added, is a habit of the libraries that came before; keeping it makes weights exchangeable with PyTorch.
    """)
    return


@app.function
def my_count(inputs, hidden):
    """Exercise 1: how many numbers (weights and biases) does an LSTM layer have?"""
    return None


@app.function(hide_code=True)
def count_solution(inputs, hidden):
    """Each of the 4H gate rows has a weight for each input, one for each unit, and two biases."""
    return 4 * hidden * (inputs + hidden + 2)


@app.function(hide_code=True)
def count_check(count):
    for inputs, hidden in ((1, 2), (3, 5), (7, 1)):
        params, _ = rk.setup(rk.Chain(rk.LSTM(inputs, hidden)))
        wrong = differs(count(inputs, hidden), sum(array.size for array in params.values()), f"({inputs}, {hidden})")
        if wrong:
            return wrong
    return ""


@app.cell(hide_code=True)
def _():
    count = Exercise(my_count, count_solution, count_check)
    show(count)
    return (count,)


@app.cell(hide_code=True)
def _():
    _forward = worked_step().partition("\nBACKWARD")[0]
    mo.vstack(
        [
            mo.md(r"""
    ## One step, with its numbers

    Here is one step of a net with one input and two units. The weights are made up, so that every number is easy to
    follow. Take a pencil for one line of each kind; `i1` is the input gate of unit 1.
    """),
            mo.plain_text(_forward),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    Look at unit 1: its forget gate is 0.84, so 0.84 of its cell of 1 survive; its input gate is 0.78, so a good part of
    the candidate 0.96 is added. The cell grows to 1.59: **a cell may leave the range from −1 to 1**, which is why (5)
    squashes it once more before it is shown.

    Now you. Equation (4) comes first, because it is the one that makes an LSTM an LSTM.
    """)
    return


@app.function
def my_cell(i, f, g, c_before):
    """Exercise 2: equation (4), the new cell; all arguments are arrays of one shape."""
    return None


@app.function(hide_code=True)
def cell_solution(i, f, g, c_before):
    """Keep some, write some."""
    return f * c_before + i * g


@app.function(hide_code=True)
def cell_check(cell):
    model = rk.Chain(rk.LSTM(2, 3), rk.Dense(3, 1))
    series = rk.Sequence(np.random.default_rng(1).standard_normal((6, 2)), np.zeros(6), horizon=0)
    seen = rk.trace(model, series, (0, 6), params=rk.setup(model)[0]).layers[0]
    return differs(cell(seen.i, seen.f, seen.g, seen.c_before), seen.c, "the cell")


@app.cell(hide_code=True)
def _():
    cell = Exercise(my_cell, cell_solution, cell_check)
    show(cell)
    return (cell,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## The step as code

    Four equations, four lines and the activation. For large negative numbers $e^{-a}$ overflows, so σ is written with
    tanh here, which never does: $\sigma(a) = \tfrac12\,(1 + \tanh\tfrac a2)$. (The two curves have the same shape.)
    """)
    return


@app.function
def sigmoid(a):
    """From 0 to 1."""
    return (1 + np.tanh(a / 2)) / 2


@app.function
def step(params, x, h, c):
    """One row x (I,) and the state before it, h and c (H,): the state after it."""
    a = params["weight_ih"] @ x + params["bias_ih"] + params["weight_hh"] @ h + params["bias_hh"]  # (2)
    a_i, a_f, a_g, a_o = np.split(a, 4)
    i, f, g, o = sigmoid(a_i), sigmoid(a_f), np.tanh(a_g), sigmoid(a_o)  # (3)
    c = f * c + i * g  # (4)
    h = o * np.tanh(c)  # (5)
    return h, c


@app.cell
def _():
    worked = example()  # its weights, what it reads, and the state that it starts from
    h_worked, c_worked = step(worked.params, worked.x[0], *worked.before)
    h_worked.round(4), c_worked.round(4)
    return c_worked, h_worked


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    These are `h1`, `h2` and `c1`, `c2` of the worked step above. So `step` does what the pencil did.

    ## A whole series: the fold

    The rest is a loop: start from a state (zeros, unless you know better), put in one row after the other, and keep
    every $h$, as these are the outputs of the layer.
    """)
    return


@app.function
def forward(params, x, h, c):
    """All rows x (T, I), from the state h and c (H,): the outputs (T, H), and the state after the last row."""
    outputs = []
    for row in x:
        h, c = step(params, row, h, c)
        outputs.append(h)
    return np.array(outputs), h, c


@app.cell
def _():
    rng = np.random.default_rng(0)
    model = rk.Chain(rk.LSTM(3, 5))
    params, _ = rk.setup(model, seed=1, dtype="float64")
    x = rng.standard_normal((40, 3))
    h0, c0 = rng.standard_normal((2, 5))  # not zeros: a check from zeros would miss mistakes in weight_hh and f

    ours, h_last, c_last = forward({key.removeprefix("0."): array for key, array in params.items()}, x, h0, c0)
    state = (rk.LSTMState(h0[None], c0[None]),)  # one entry a layer, one row a lane
    theirs, (last,), _ = rk.backend("numpy").forward(model, params, x[:, None], state)

    distance = max(
        np.abs(ours - theirs[:, 0]).max(), np.abs(h_last - last.h[0]).max(), np.abs(c_last - last.c[0]).max()
    )
    print(f"40 rows, 5 units: the largest difference between your numbers and rnnkit's is {distance:.1e}")
    return c0, distance, h0, model, params, x


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    The backend `numpy` is rnnkit's textbook. The difference is of the order of $10^{-16}$, which is as equal as two
    float64 computations get that add in a different order.

    ## The same function on real data

    So far the weights were random. Let us train a small net, and read the data with **your** function. The series
    counts taxi passengers in New York every half hour; the net reads one count and predicts the next. Training takes
    a moment, and how it works is the subject of the next lessons.
    """)
    return


@app.cell
def _():
    taxi = rk.Sequence.open(DATA / "nyc_taxi.csv", time="timestamp", target="value")
    train, _, test = taxi.split(0.7, 0.15)
    train = train.with_scaler(rk.Standard.fit(train))
    schedule = rk.Schedule(train, rk.Continuation(length=40, lanes=4), rk.Carry())
    taxi_model = rk.Chain(rk.LSTM(1, 8), rk.Dense(8, 1))
    run = rk.fit(taxi_model, schedule, backend="numba", rule=rk.Adam(1e-2), epochs=30, seed=0, dtype="float64")
    print(rk.evaluate(run, test))
    return run, taxi


@app.cell
def _(run, taxi):
    first, stop = 5000, 5192  # four days
    values = run.scaler.scale_x(taxi.read_x(0, stop, np.float64))  # as in training: mean 0, spread 1
    lstm = {name: run.params[f"0.{name}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    hidden, _, _ = forward(lstm, values, np.zeros(8), np.zeros(8))
    scaled = hidden @ run.params["1.weight"].T + run.params["1.bias"]  # the Dense layer: one product and a bias
    by_hand = run.scaler.unscale_y(scaled)[first:, 0]
    by_rnnkit = rk.predict(run, taxi)[first:stop, 0]
    print(f"largest difference in {stop - first} predictions: {np.abs(by_hand - by_rnnkit).max():.1e} passengers")
    return by_hand, by_rnnkit, first, stop


@app.cell(hide_code=True)
def _(by_hand, first, run, stop, taxi):
    figure, (_top, _cell, _gates) = new_figure(10, 6.4, 3)
    _rows = np.arange(first, stop)
    _top.plot(_rows + 1, taxi.read_x(first + 1, stop + 1, np.float64)[:, 0], color=TRUTH, label="passengers, observed")
    _top.plot(_rows + 1, by_hand, color=MODEL, label="predicted by your function, from the half hour before")
    _seen = rk.trace(run, taxi, (first, stop)).layers[0]
    _busiest = int(_seen.c.std(0).argmax())
    _cell.plot(_rows, _seen.c[:, _busiest], color=TRUTH, label=f"cell c of unit {_busiest}")
    _gates.plot(_rows, _seen.f[:, _busiest], color=MODEL, label="its forget gate f")
    _gates.plot(_rows, _seen.i[:, _busiest], color=NAIVE, label="its input gate i")
    _gates.set_xlabel("row (half hours)")
    for _axes in (_top, _cell, _gates):
        tidy(_axes)
        legend(_axes)
    figure
    return (figure,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    Above: four days, and what your function says half an hour ahead. Below: the unit whose cell moves most, and two
    of its gates. Where the forget gate dips, the cell is emptied, once a day. Nobody told the net what a day is.

    ## What a gate can do

    Gates are the reason for all this. If $f = 1$ and $i = 0$, equation (4) becomes $c = c^-$: the cell is **copied**,
    untouched by whatever the net reads, for as long as you like. A plain recurrent net, $h = \tanh(W x + U h^-)$, has
    nothing like it.
    """)
    return


@app.function
def my_biases():
    """Exercise 3: (b_i, b_f), two numbers for the biases of i and f with which a cell is kept for 1,000 noisy rows."""
    return None


@app.function(hide_code=True)
def biases_solution():
    """σ(-30) is almost 0: nothing is written. σ(30) is almost 1: everything is kept."""
    return -30.0, 30.0


@app.function(hide_code=True)
def biases_check(biases):
    b_i, b_f = biases()
    params = {"weight_ih": np.ones((4, 1)), "weight_hh": np.ones((4, 1)), "bias_hh": np.zeros(4)}
    params["bias_ih"] = np.array([b_i, b_f, 0.0, 0.0])
    noise = np.random.default_rng(0).standard_normal((1000, 1))
    _, _, c = forward(params, noise, np.zeros(1), np.array([0.7]))
    return "" if abs(c[0] - 0.7) < 1e-3 else f"a cell of 0.7 has become {c[0]:.4f} after 1,000 rows."


@app.cell(hide_code=True)
def _():
    biases = Exercise(my_biases, biases_solution, biases_check)
    show(biases)
    return (biases,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Lanes: several series at once

    Nothing in the equations minds if $x$ is not one row but $B$ rows of $B$ different series, one below the other:
    the state becomes $(B, H)$ and the product `x @ weight_ih.T`. rnnkit calls each of the $B$ a **lane**. Lanes never
    look at each other; they only share the weights. All arrays are `(T, B, ...)`: time first.

    ## The two equations that were left out

    $$
    \begin{aligned}
    (1)\quad & h^-, c^- = h_0, c_0 \text{ where a reset stands, else the state after the row before}\\
    (6)\quad & h, c = \text{the new ones where the row is valid, else } h^-, c^-
    \end{aligned}
    $$

    (1) A lane may come to the end of one series and go on with another: before the first row of that, its state
    becomes the **initial** state. (6) A lane that has run out is filled up with rows that mean nothing, **padding**:
    its state is held, as if time stood still. Both are decided for each lane by itself, by masks `reset` and `valid`
    of shape `(T, B)`.
    """)
    return


@app.function
def my_start(reset, h, initial):
    """Exercise 4: equation (1) for h, with np.where; reset (B,) is bool, h and initial are (B, H)."""
    return None


@app.function(hide_code=True)
def start_solution(reset, h, initial):
    """One decision for each lane, so the mask needs a second axis; without it NumPy would decide for each unit."""
    return np.where(reset[:, None], initial, h)


@app.function(hide_code=True)
def start_check(start):
    rng = np.random.default_rng(2)
    for lanes, hidden in ((4, 2), (3, 3)):
        h, initial = rng.standard_normal((2, lanes, hidden))
        reset = np.arange(lanes) % 2 == 0
        wanted = h.copy()
        for lane in np.flatnonzero(reset):
            wanted[lane] = initial[lane]
        wrong = differs(start(reset, h, initial), wanted, f"the state of {lanes} lanes and {hidden} units")
        if wrong:
            return wrong + (" Here B = H, and a wrong mask fits the shape, too." if lanes == hidden else "")
    return ""


@app.cell(hide_code=True)
def _():
    start = Exercise(my_start, start_solution, start_check)
    show(start)
    return (start,)


@app.cell
def _(c0, h0, model, params, x):
    _reset = np.arange(40) == 25  # in the middle of the window another series begins
    _state = (rk.LSTMState(h0[None], c0[None]),)
    _theirs, _, _ = rk.backend("numpy").forward(model, params, x[:, None], _state, _reset[:, None])
    _weights = {key.removeprefix("0."): array for key, array in params.items()}
    _before, _, _ = forward(_weights, x[:25], h0, c0)
    _after, _, _ = forward(_weights, x[25:], np.zeros(5), np.zeros(5))  # the initial state is zeros
    reset_distance = np.abs(np.concatenate([_before, _after]) - _theirs[:, 0]).max()
    print(f"a reset at row 25 is the same as two series, one after the other: {reset_distance:.1e}")
    return (reset_distance,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## What to take along

    - A recurrent net is a fold: one step, applied again and again, with a state handed on.
    - An LSTM's cell changes by $c = f \odot c^- + i \odot g$, and by nothing else. With $f$ near 1 it remembers.
    - A **reset** and **padding** are not the same thing: the first forgets, the second stands still.
    - The state at the end of one piece of a series is what the next piece starts from. If you hand it on, reading in
      pieces gives the same numbers as reading in one go; if you do not, every piece starts by forgetting.

    The next lesson goes the same way back, and finds the gradient.
    """)
    return


@app.cell(hide_code=True)
def _(biases, by_hand, by_rnnkit, c_worked, cell, count, distance, h_worked, reset_distance, start):
    _written = worked_step()
    checks = {
        "the step gives the numbers of the worked example": all(
            f"= {value:.4f}".rstrip("0") in _written for value in (*h_worked, *c_worked)
        ),
        "40 rows agree with the backend numpy, outputs and final state": distance < 1e-14,
        "predictions for taxis by hand and by rnnkit agree": np.abs(by_hand - by_rnnkit).max() < 1e-6,
        "a reset inside a window is a new beginning": reset_distance < 1e-14,
    }
    exercises = {"count": count, "cell": cell, "biases": biases, "start": start}
    summary(checks)
    return checks, exercises


if __name__ == "__main__":
    app.run()
