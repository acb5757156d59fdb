import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Back-propagation through time, by hand")

with app.setup:
    from pathlib import Path

    import marimo as mo
    import numpy as np
    from exercise import Exercise, differs, show, summary

    import rnnkit as rk
    from rnnkit.tracing import worked_step
    from rnnkit.tracing.worked import example
    from rnnkit.view.plots import MODEL, NAIVE, legend, new_figure, tidy

    DATA = Path(__file__).parent.parent / "examples" / "data"


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    # 2. Back-propagation through time, by hand

    To train a net you need the derivative of its loss with respect to every weight. For a recurrent net the way to find
    it has a grand name, back-propagation through time, and a simple content: **the chain rule, from the last row to the
    first**. In this lesson you derive it, write it, and check it in a way that leaves no doubt.

    You need lesson 1 and the chain rule. About 20 minutes, with four exercises.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## One number first

    Take the smallest recurrent net there is: its state is one number, its only weight is $w$.

    $$ h_{t+1} = \tanh(w\,h_t + x_t), \qquad L = h_T $$

    How does $L$ change with $w$? The weight is used in **every** row, so it moves $L$ along $T$ ways at once. The chain
    rule says: follow each way, and add.

    Write $\mathrm{d}v$ for $\partial L / \partial v$, whatever $v$ is. (In code: `d_v`.) Then, from the last row to the
    first, with $a_t = w\,h_t + x_t$:

    $$
    \begin{aligned}
    \mathrm{d}a_t &= \mathrm{d}h_{t+1}\,(1 - h_{t+1}^2) && \text{back through tanh}\\
    \mathrm{d}w &\mathrel{+}= \mathrm{d}a_t\,h_t && \text{what this row adds to the gradient}\\
    \mathrm{d}h_t &= \mathrm{d}a_t\,w && \text{what is handed to the row before}
    \end{aligned}
    $$

    That is all of it. The rest of this lesson is the same with more letters.
    """)
    return


@app.function
def small_forward(w, x, h):
    """All states of the net of one number: (T + 1,), the first is h itself."""
    states = [h]
    for value in x:
        states.append(np.tanh(w * states[-1] + value))
    return np.array(states)


@app.function
def small_backward(w, states):
    """The derivative of the last state with respect to w."""
    d_h, d_w = 1.0, 0.0
    for t in reversed(range(len(states) - 1)):
        d_a = d_h * (1 - states[t + 1] ** 2)
        d_w += d_a * states[t]
        d_h = d_a * w
    return d_w


@app.cell
def _():
    w, x_small = 0.9, np.random.default_rng(0).standard_normal(12)
    d_w = small_backward(w, small_forward(w, x_small, 0.5))
    d_w
    return d_w, w, x_small


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Is it right?

    Never believe a gradient that you have not checked. A wrong one often trains, only worse.

    The usual check is the difference quotient, $\frac{f(w + \varepsilon) - f(w)}{\varepsilon}$. It has a dilemma:
    with a large $\varepsilon$ the formula is inexact, with a small one the subtraction of two nearly equal numbers
    eats the digits.

    There is a better way. Take a step in the **imaginary** direction:

    $$ f(w + i\varepsilon) = f(w) + i\varepsilon f'(w) - \tfrac{\varepsilon^2}{2} f''(w) - \dots
    \qquad\Rightarrow\qquad f'(w) = \frac{\operatorname{Im} f(w + i\varepsilon)}{\varepsilon} + O(\varepsilon^2) $$

    Nothing is subtracted, so $\varepsilon$ may be $10^{-200}$, and then the formula is exact to the last digit. All it
    needs is a forward pass that accepts complex numbers; NumPy's does, `tanh` included.
    """)
    return


@app.function
def my_complex_step(f, w):
    """Exercise 1: the derivative of f at w by the complex step; f takes and returns one number."""
    return None


@app.function(hide_code=True)
def complex_step_solution(f, w):
    """The imaginary part, divided by the step."""
    step = 1e-200
    return f(w + 1j * step).imag / step


@app.function(hide_code=True)
def complex_step_check(derivative):
    for f, w, wanted in ((lambda z: z**3, 2.0, 12.0), (np.sin, 1.0, np.cos(1.0)), (np.exp, -3.0, np.exp(-3.0))):
        wrong = differs(derivative(f, w), wanted, f"the derivative at {w}", 1e-14)
        if wrong:
            return wrong
    return ""


@app.cell(hide_code=True)
def _():
    complex_step = Exercise(my_complex_step, complex_step_solution, complex_step_check)
    show(complex_step)
    return (complex_step,)


@app.cell(hide_code=True)
def _(d_w, w, x_small):
    _steps = np.logspace(-16, -1, 46)
    _loss = lambda z: small_forward(z, x_small, 0.5)[-1]  # noqa: E731
    _quotient = np.array([(_loss(w + e) - _loss(w)) / e for e in _steps])
    _complex = np.array([_loss(w + 1j * e).imag / e for e in _steps])
    small_error = abs(_loss(w + 1e-200j).imag / 1e-200 - d_w) / abs(d_w)
    quotient_error = np.abs(_quotient - d_w).min() / abs(d_w)
    figure_steps, (_axes,) = new_figure(8, 3.4)
    _axes.loglog(
        _steps, np.maximum(np.abs(_quotient - d_w) / abs(d_w), 1e-17), color=NAIVE, label="difference quotient"
    )
    _axes.loglog(_steps, np.maximum(np.abs(_complex - d_w) / abs(d_w), 1e-17), color=MODEL, label="complex step")
    _axes.set_xlabel("step ε")
    _axes.set_ylabel("distance from small_backward, relative")
    tidy(_axes, "both")
    legend(_axes)
    figure_steps
    return quotient_error, small_error


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    The difference quotient never comes nearer than about eight digits, and only for one lucky step. The complex step
    agrees with `small_backward` to the last digit as soon as its step is below $10^{-8}$. (What is exactly equal is
    drawn at $10^{-17}$.) From here on every gradient is held to that.

    ## The LSTM, backward

    Lesson 1's step, in the order in which it is computed, and the order in which it is undone:

    $$
    \begin{aligned}
    (2)\ & a = W_{ih}\,x + b_{ih} + W_{hh}\,h^- + b_{hh} & \qquad & \text{last}\\
    (3)\ & i, f, g, o = \sigma(a_i), \sigma(a_f), \tanh(a_g), \sigma(a_o) && \uparrow\\
    (4)\ & c = f \odot c^- + i \odot g && \uparrow\\
    (5)\ & h = o \odot \tanh(c) && \text{first}
    \end{aligned}
    $$

    Two rules are enough. **Through a product:** from $v = p \odot q$ follows $\mathrm{d}p = \mathrm{d}v \odot q$ and
    $\mathrm{d}q = \mathrm{d}v \odot p$. **Where ways meet:** what is used twice gets two contributions, and they add.

    Two things are used twice. $h$ goes to the output **and** to the next row; $c$ goes into $h$ **and** to the next
    row.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    **(6′) What arrives at $h$.** From the output of this row comes $\mathrm{d}y$, from the row after it
    $\mathrm{d}h^{\to}$. Both count: $\mathrm{d}h = \mathrm{d}y + \mathrm{d}h^{\to}$.

    **(5′) Back through $h = o \odot \tanh(c)$.** A product, and $\tanh' = 1 - \tanh^2$. The cell had another use, which
    brings $\mathrm{d}c^{\to}$ from the row after:

    $$ \mathrm{d}o = \mathrm{d}h \odot \tanh(c), \qquad
    \mathrm{d}c = \mathrm{d}c^{\to} + \mathrm{d}h \odot o \odot (1 - \tanh^2(c)) $$

    **(4′) Back through $c = f \odot c^- + i \odot g$.** Two products. You do this one.
    """)
    return


@app.function
def my_cell_back(d_c, c_before, i, f, g):
    """Exercise 2: (d_i, d_f, d_g, d_c_before) from d_c, by inverting c = f * c_before + i * g."""
    return None


@app.function(hide_code=True)
def cell_back_solution(d_c, c_before, i, f, g):
    """In a product each factor gets the gradient times the other one."""
    return d_c * g, d_c * c_before, d_c * i, d_c * f


@app.function(hide_code=True)
def cell_back_check(cell_back):
    d_c, *values = np.random.default_rng(3).standard_normal((5, 4))  # c_before, i, f, g
    cell = lambda c_before, i, f, g: f * c_before + i * g  # noqa: E731
    got = cell_back(d_c, *values)
    for name, nth, answer in zip(("d_i", "d_f", "d_g", "d_c_before"), (1, 2, 3, 0), got, strict=True):
        stepped = [value + (1e-200j if k == nth else 0) for k, value in enumerate(values)]
        wrong = differs(answer, d_c * cell(*stepped).imag / 1e-200, name)
        if wrong:
            return wrong
    return ""


@app.cell(hide_code=True)
def _():
    cell_back = Exercise(my_cell_back, cell_back_solution, cell_back_check)
    show(cell_back)
    return (cell_back,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    Look at the last of the four: $\mathrm{d}c^- = \mathrm{d}c \odot f$. From row to row the gradient of the cell is
    multiplied by the **forget gate**, by nothing else on this way. A forget gate near 1 lets it through untouched.
    That is why an LSTM can learn over long distances; lesson 5 is about how long.

    **(3′) Back through the activations.** Conveniently, both derivatives can be had from the outputs:
    $\sigma' = \sigma(1-\sigma)$ and $\tanh' = 1 - \tanh^2$.

    $$ \mathrm{d}a_i = \mathrm{d}i \odot i(1-i), \quad \mathrm{d}a_f = \mathrm{d}f \odot f(1-f), \quad
    \mathrm{d}a_g = \mathrm{d}g \odot (1-g^2), \quad \mathrm{d}a_o = \mathrm{d}o \odot o(1-o) $$

    **(2′) Back through the matrices.** From $a = W x$ follows $\mathrm{d}x = W^{\top} \mathrm{d}a$ and
    $\mathrm{d}W = \mathrm{d}a\, x^{\top}$: each weight sits between one gate row and one input, and gets their product.

    $$ \mathrm{d}x = W_{ih}^{\top}\,\mathrm{d}a, \quad \mathrm{d}h^- = W_{hh}^{\top}\,\mathrm{d}a, \quad
    \mathrm{d}W_{ih} \mathrel{+}= \mathrm{d}a\,x^{\top}, \quad \mathrm{d}W_{hh} \mathrel{+}=
    \mathrm{d}a\,(h^-)^{\top}, \quad \mathrm{d}b \mathrel{+}= \mathrm{d}a $$
    """)
    return


@app.cell(hide_code=True)
def _():
    _backward = worked_step().partition("\nBACKWARD")[2]
    mo.vstack(
        [
            mo.md(r"""
    ## The same step as in lesson 1, backward

    The numbers of one step, after its forward pass. Follow unit 1 from the top: each line uses only lines above it.
    """),
            mo.plain_text(_backward.strip("\n")),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## As code

    The forward step keeps what the backward step will ask for. This note is called the **tape**. `sigmoid` is written
    so that it takes complex numbers, for the check.
    """)
    return


@app.function
def sigmoid(a):
    """From 0 to 1."""
    return (1 + np.tanh(a / 2)) / 2


@app.function
def step(p, x, h, c):
    """One row forward: the state after it, and what the way back needs."""
    a = p["weight_ih"] @ x + p["bias_ih"] + p["weight_hh"] @ h + p["bias_hh"]  # (2)
    a_i, a_f, a_g, a_o = np.split(a, 4)
    i, f, g, o = sigmoid(a_i), sigmoid(a_f), np.tanh(a_g), sigmoid(a_o)  # (3)
    c_new = f * c + i * g  # (4)
    tanh_c = np.tanh(c_new)
    return o * tanh_c, c_new, (x, h, c, i, f, g, o, tanh_c)  # (5)


@app.function
def step_back(p, note, d_h, d_c):
    """One row backward: d_a, and what is handed on: d_h and d_c of the state before, and d_x."""
    _, _, c_before, i, f, g, o, tanh_c = note
    d_o = d_h * tanh_c  # (5')
    d_c = d_c + d_h * o * (1 - tanh_c**2)  # (5')
    d_i, d_f, d_g = d_c * g, d_c * c_before, d_c * i  # (4')
    d_a = np.concatenate([d_i * i * (1 - i), d_f * f * (1 - f), d_g * (1 - g**2), d_o * o * (1 - o)])  # (3')
    return d_a, p["weight_hh"].T @ d_a, d_c * f, p["weight_ih"].T @ d_a  # (2'), (4'), (2')


@app.cell
def _():
    _example = example()
    _, _, _note = step(_example.params, _example.x[0], _example.before.h, _example.before.c)
    worked_back = step_back(_example.params, _note, _example.d_y + _example.d_later.h, _example.d_later.c)
    [part.round(4) for part in worked_back]  # d_a (i1, i2, f1, f2, ...), d_h_before, d_c_before, d_x
    return (worked_back,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    Compare with the worked step above: `d_a` holds the eight `d_..._pre`, then come `d_h_before`, `d_c_before`, `d_x`.

    ## Through time

    And now the loop, from the last row to the first. Each row gets `d_h` and `d_c` from the row after it, adds what
    comes through its own output, and hands on. Into the parameters every row **adds**: they are used in every row.
    """)
    return


@app.function
def forward(p, x, h, c):
    """All rows x (T, I): outputs (T, H), state, and the tape."""
    outputs, tape = [], []
    for row in x:
        h, c, note = step(p, row, h, c)
        outputs.append(h)
        tape.append(note)
    return np.array(outputs), h, c, tape


@app.function
def backward(p, tape, d_y, d_h, d_c):
    """From d_y (T, H) and d_h, d_c of the state after the last row: gradients of parameters, state before, and x."""
    d_p = {name: np.zeros_like(array) for name, array in p.items()}
    d_x = []
    for note, d_output in zip(reversed(tape), reversed(d_y), strict=True):
        x, h_before, *_ = note
        d_a, d_h, d_c, d_row = step_back(p, note, d_output + d_h, d_c)  # (6') and the rest
        d_p["weight_ih"] += np.outer(d_a, x)
        d_p["weight_hh"] += np.outer(d_a, h_before)
        d_p["bias_ih"] += d_a
        d_p["bias_hh"] += d_a
        d_x.append(d_row)
    return d_p, d_h, d_c, np.array(d_x[::-1])


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## The check that leaves no doubt

    Every number that goes in (each weight, each bias, each input, each number of the initial state) is stepped in the
    imaginary direction, one after the other, and the forward pass is run each time. What is derived is $L = \sum d_y
    \odot y + d_h \cdot h_T + d_c \cdot c_T$ with random $d_y$, $d_h$, $d_c$: its gradient is what `backward` returns.
    The state starts from random numbers, and T, I and H all differ: a check from zeros, or of a square, can miss a
    mistake.
    """)
    return


@app.cell
def _():
    rng = np.random.default_rng(1)
    rows, inputs, hidden = 9, 2, 3
    model = rk.Chain(rk.LSTM(inputs, hidden))
    params, _ = rk.setup(model, seed=2, dtype="float64")
    p = {key.removeprefix("0."): array for key, array in params.items()}
    x, h0, c0 = rng.standard_normal((rows, inputs)), rng.standard_normal(hidden), rng.standard_normal(hidden)
    d_y, d_h, d_c = rng.standard_normal((rows, hidden)), rng.standard_normal(hidden), rng.standard_normal(hidden)

    _, _, _, tape = forward(p, x, h0, c0)
    d_p, d_h0, d_c0, d_x = backward(p, tape, d_y, d_h, d_c)
    by_hand = d_p | {"h0": d_h0, "c0": d_c0, "x": d_x}
    return by_hand, c0, d_c, d_h, d_y, h0, hidden, model, p, params, tape, x


@app.cell
def _(by_hand, c0, d_c, d_h, d_y, h0, p, x):
    def derived(values):
        y, h, c, _ = forward(values, values["x"], values["h0"], values["c0"])
        return (d_y * y).sum() + d_h @ h + d_c @ c

    values = {name: array.astype(complex) for name, array in (p | {"h0": h0, "c0": c0, "x": x}).items()}
    complex_distance = {}
    for name, array in values.items():
        slope = np.zeros(array.shape)
        for place in np.ndindex(array.shape):
            array[place] += 1e-200j
            slope[place] = derived(values).imag / 1e-200
            array[place] = array[place].real
        complex_distance[name] = np.abs(slope - by_hand[name]).max() / np.abs(slope).max()
    {name: f"{distance:.1e}" for name, distance in complex_distance.items()}
    return (complex_distance,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    Equal to rounding, everywhere. Your gradient is not nearly right, it is right.

    ## The backends

    Now the same window through every backend that is installed here: the textbook `numpy`, the compiled `numba`, and,
    if you have it, `torch`, whose autograd knows nothing of our equations. (`pip install -e ".[torch]"` brings it.)
    """)
    return


@app.cell
def _(by_hand, c0, d_c, d_h, d_y, h0, model, params, x):
    backend_distance = {}
    for _name in rk.installed_backends():
        try:
            _engine = rk.backend(_name)
        except rk.BackendError as _error:
            print(_error)
            continue
        _own = _engine.from_numpy(params)
        _state = _engine.from_numpy((rk.LSTMState(h0[None], c0[None]),))  # one lane
        _, _, _tape = _engine.forward(model, _own, _engine.from_numpy(x[:, None]), _state)
        _d_state = _engine.from_numpy((rk.LSTMState(d_h[None], d_c[None]),))
        _found = _engine.to_numpy(_engine.backward(model, _own, _tape, _engine.from_numpy(d_y[:, None]), _d_state))
        _theirs = {key.removeprefix("0."): array for key, array in _found.params.items()}
        _theirs |= {"h0": _found.state[0].h[0], "c0": _found.state[0].c[0], "x": _found.x[:, 0]}
        backend_distance[_name] = max(
            np.abs(_theirs[name] - mine).max() / np.abs(mine).max() for name, mine in by_hand.items()
        )
    for _name, _distance in backend_distance.items():
        print(f"{_name:6} differs from your gradient by at most {_distance:.1e}, relative")
    return (backend_distance,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    Four ways to one gradient (three without torch), and it does not matter which one trains your net, except for the
    time it takes. Lesson 6 is about that.

    ## Two things to try

    **All rows at once.** `backward` adds $\mathrm{d}a_t\,(h^-_t)^{\top}$ row by row. If you keep all $\mathrm{d}a$ of a
    window in one array `(T, 4H)`, and all $h^-$ in another `(T, H)`, the sum is a single product.
    """)
    return


@app.function
def my_weight_gradient(d_a, h_before):
    """Exercise 3: the gradient of weight_hh (4H, H) from d_a (T, 4H) and h_before (T, H), without a loop."""
    return None


@app.function(hide_code=True)
def weight_gradient_solution(d_a, h_before):
    """The sum over t of outer products is a product of matrices."""
    return d_a.T @ h_before


@app.function(hide_code=True)
def weight_gradient_check(weight_gradient):
    model = rk.Chain(rk.LSTM(1, 4), rk.Dense(4, 1))
    seen = rk.trace(model, rk.Sequence(np.sin(np.arange(30.0))), (5, 25), params=rk.setup(model)[0])
    layer = seen.layers[0]
    d_a = np.concatenate([layer.d_i_pre, layer.d_f_pre, layer.d_g_pre, layer.d_o_pre], axis=1)
    return differs(weight_gradient(d_a, layer.h_before), seen.gradient["0.weight_hh"], "the gradient")


@app.cell(hide_code=True)
def _():
    weight_gradient = Exercise(my_weight_gradient, weight_gradient_solution, weight_gradient_check)
    show(weight_gradient)
    return (weight_gradient,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    **A classic mistake.** Suppose somebody writes `d_p["weight_hh"] = np.outer(d_a, h_before)` in `backward`, with `=`
    where `+=` should stand. Nothing crashes, and the shapes are right. Which gradient comes out?
    """)
    return


@app.function
def my_last_written():
    """Exercise 4: the gradient of only one row survives. Which one? Return "first" or "last"."""
    return None


@app.function(hide_code=True)
def last_written_solution():
    """The loop goes from the last row to the first, so what is written last belongs to the first row."""
    return "first"


@app.function(hide_code=True)
def last_written_check(last_written):
    written = None
    for row in reversed(("first", "second", "third", "last")):  # the order of backward
        written = row
    return "" if last_written() == written else "in which order does the loop in `backward` go?"


@app.cell(hide_code=True)
def _():
    last_written = Exercise(my_last_written, last_written_solution, last_written_check)
    show(last_written)
    return (last_written,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Seen on real data

    `rk.trace` does what you did, on any rows of any series, and keeps every number. Here are two days of New York's
    taxis, and a net trained on them. The gradient of the mean loss enters at every row and goes from right to left.
    """)
    return


@app.cell
def _():
    taxi = rk.Sequence.open(DATA / "nyc_taxi.csv", time="timestamp", target="value")
    train, _, _ = taxi.split(0.7, 0.15)
    train = train.with_scaler(rk.Standard.fit(train))
    schedule = rk.Schedule(train, rk.Continuation(length=40, lanes=4), rk.Carry())
    taxi_model = rk.Chain(rk.LSTM(1, 8), rk.Dense(8, 1))
    run = rk.fit(taxi_model, schedule, backend="numba", rule=rk.Adam(1e-2), epochs=30, seed=0)
    seen = rk.trace(run, taxi, (5000, 5096))
    seen.plot("gradient")
    return (seen,)


@app.cell
def _(seen):
    _p = {key.removeprefix("0."): array for key, array in seen.params.items() if key.startswith("0.")}
    _before = seen.layers[0].h_before[0], seen.layers[0].c_before[0]
    _, _, _, _tape = forward(_p, seen.x, *_before)
    _d_y = seen.d_y @ seen.params["1.weight"]  # back through the Dense layer: its output was h @ weight.T + bias
    _mine, *_ = backward(_p, _tape, _d_y, np.zeros(8), np.zeros(8))
    taxi_distance = max(np.abs(_mine[name] - seen.gradient[f"0.{name}"]).max() for name in _p)
    print(
        f"your backward and rk.trace: at most {taxi_distance:.1e} apart, where the largest number is "
        f"{max(np.abs(g).max() for g in _mine.values()):.2g}"
    )
    return (taxi_distance,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    The upper panel: how large the gradient is at each row. Green is what enters at the row itself, blue is that and
    all that has come from later rows. Blue does not pile up towards the left, although the losses of more and more
    rows have come together there: on its way the gradient is multiplied by forget gates and weights, and dies away.
    The middle panel is `d_c` of each unit. The lower one is what each row adds to the gradient of the weights,
    $\mathrm{d}a$ times what the weight is multiplied by; for `weight_ih` that is the row itself, which is why its
    line dips where a count is near the mean, 0 after scaling.

    ## What to take along

    - The gradient of a recurrent net is the chain rule, last row first. Whatever is used twice gets two contributions.
    - Every row adds to the gradient of the same weights.
    - On the way back, the cell's gradient is multiplied by the forget gate, row after row.
    - To go back, the whole forward pass must be remembered: **the tape grows with the number of rows**. And when a
      long series has been gone through, back and forth, there is one gradient for one step of the optimizer. This is
      where the next lesson begins.
    """)
    return


@app.cell(hide_code=True)
def _(
    backend_distance,
    cell_back,
    complex_distance,
    complex_step,
    last_written,
    quotient_error,
    small_error,
    taxi_distance,
    weight_gradient,
    worked_back,
):
    _written = worked_step()
    checks = {
        "the gradient of one number agrees with the complex step": small_error < 1e-14,
        "the best difference quotient is a million times worse": quotient_error > 1e6 * 1e-16,
        "the backward step gives the numbers of the worked example": all(
            f"= {round(float(value), 4)}" in _written for part in worked_back for value in part
        ),
        "every number of the LSTM's gradient agrees with the complex step": max(complex_distance.values()) < 1e-12,
        f"and with the backends {', '.join(backend_distance)}": max(backend_distance.values()) < 1e-10,
        "on taxi data your gradient is that of rk.trace": taxi_distance < 1e-12,
    }
    exercises = {
        "complex_step": complex_step,
        "cell_back": cell_back,
        "weight_gradient": weight_gradient,
        "last_written": last_written,
    }
    summary(checks)
    return checks, exercises


if __name__ == "__main__":
    app.run()
