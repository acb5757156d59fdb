import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="How far the gradient reaches")

with app.setup:
    import marimo as mo
    import numpy as np
    from exercise import Exercise, differs, show, summary

    import rnnkit as rk
    from rnnkit.view.plots import INITIAL, MODEL, NAIVE, TRUTH, legend, new_figure, tidy

    COLOURS = (INITIAL, NAIVE, MODEL, TRUTH)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    # 5. How far the gradient reaches

    A net can learn that row 3 matters for row 90 only if the gradient of the loss at row 90 arrives at row 3. On its
    way it is multiplied by something at every row. Multiply often enough, and there is either nothing left, or far
    too much. In this lesson you see both, see what an LSTM does about it, and measure the reach of real nets before
    and after training.

    You need lessons 2 and 3. About 20 minutes, with four exercises.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## One number, many factors

    The net of one number from lesson 2, without its tanh: $h_{t+1} = w\,h_t + x_t$. From row to row the gradient is
    multiplied by $w$, so over $k$ rows

    $$ \frac{\partial h_t}{\partial h_{t-k}} = w^k. $$

    $0.9^{100} = 0.00003$, and $1.1^{100} = 13{,}781$. There is no third way: unless $w$ is almost exactly 1, a
    hundred rows make it vanish or explode. With more units, $w$ is a matrix, and each factor is that matrix, its rows
    scaled by the slope of tanh; but the story is the same:
    """)
    return


@app.function
def plain_reach(gain, lags=100, units=32):
    """Norm of ∂h(t)/∂h(t-k) by lag k, for h = tanh(W h + noise), W random and as large as `gain` says."""
    rng = np.random.default_rng(0)
    weights = gain * rng.standard_normal((units, units)) / np.sqrt(units)
    states = [np.zeros(units)]
    for _ in range(lags + 50):
        states.append(np.tanh(weights @ states[-1] + 0.1 * rng.standard_normal(units)))
    product, norms = np.eye(units), []
    for h in states[: -lags - 1 : -1]:  # from the last row backward
        norms.append(np.linalg.norm(product) / np.sqrt(units))
        product = product @ ((1 - h**2)[:, None] * weights)
    return np.array(norms)


@app.cell(hide_code=True)
def _():
    plain = {gain: plain_reach(gain) for gain in (0.6, 0.9, 1.2, 2.0)}
    figure_plain, (_axes,) = new_figure(8, 3.4)
    for (_gain, _norms), _colour in zip(plain.items(), COLOURS, strict=True):
        _axes.semilogy(_norms, color=_colour, label=f"weights of size {_gain}")
    _axes.set_xlabel("lag (rows)")
    _axes.set_ylabel("‖∂h(t) / ∂h(t - lag)‖")
    tidy(_axes, "both")
    legend(_axes, 4)
    figure_plain
    return (plain,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    A straight line on a logarithmic axis is exponential growth or decay. Between them lies a size of the weights at
    which the gradient neither dies nor grows. Nothing keeps a plain net there: training moves it from line to line
    without asking you.

    ## What the LSTM does about it

    In lesson 2 the gradient of the cell went back by $\mathrm{d}c^- = \mathrm{d}c \odot f$ (plus what comes along
    $h$, through the weights). On the way along the cell the factors are the **forget gates**:

    $$ \frac{\partial c_t}{\partial c_{t-k}} \approx f_t \odot f_{t-1} \odot \dots \odot f_{t-k+1} $$

    They lie between 0 and 1, so nothing explodes on this way. And the net can move each of them near 1, for the unit
    and the time where it needs to remember. It is not that nothing vanishes; it is that **the net decides what
    vanishes**.
    """)
    return


@app.function
def my_half_life(f):
    """Exercise 1: after how many rows has a gradient halved that is multiplied by f, 0 < f < 1, in each? (A float.)"""
    return None


@app.function(hide_code=True)
def half_life_solution(f):
    """f ** rows = 1/2; take the logarithm on both sides."""
    return np.log(0.5) / np.log(f)


@app.function(hide_code=True)
def half_life_check(half_life):
    for rows in (1, 7, 50):
        f = 0.5 ** (1 / rows)
        if abs(np.prod(np.full(rows, f)) - 0.5) < 1e-12:  # after so many rows exactly one half is left
            wrong = differs(half_life(f), rows, f"the half-life of f = {f:.4f}", 1e-6)
            if wrong:
                return wrong
    return ""


@app.function
def my_bias(rows):
    """Exercise 2: with which bias b is σ(b) a forget gate that halves the gradient in so many rows?"""
    return None


@app.function(hide_code=True)
def bias_solution(rows):
    """The inverse of σ is log(f / (1 - f))."""
    f = 0.5 ** (1 / rows)
    return np.log(f / (1 - f))


@app.function(hide_code=True)
def bias_check(bias):
    for rows in (1, 10, 100):
        left = (1 / (1 + np.exp(-bias(rows)))) ** rows
        wrong = differs(left, 0.5, f"what is left after {rows} rows", 1e-6)
        if wrong:
            return wrong
    return ""


@app.cell(hide_code=True)
def _():
    half_life = Exercise(my_half_life, half_life_solution, half_life_check)
    bias = Exercise(my_bias, bias_solution, bias_check)
    mo.vstack([show(half_life), show(bias)])
    return bias, half_life


@app.cell(hide_code=True)
def _():
    _rows = "\n".join(
        f"| {b} | {1 / (1 + np.exp(-b)):.3f} | {np.log(0.5) / -np.log1p(np.exp(-b)):.1f} |" for b in (-2, 0, 1, 2, 4, 6)
    )
    mo.md(
        "| bias of the forget gate | f | half-life in rows |\n|---|---|---|\n"
        + _rows
        + "\n\nThe usual initial values draw the biases around 0: **a new LSTM forgets half of everything from row to "
        "row.** The oldest trick of the trade is to add a number to the forget gate's bias before training."
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Measured

    `rk.trace(...).reach()` measures, on real rows, $\lVert \partial\,\text{loss}(t) / \partial c(s) \rVert$ for every
    pair of rows, along **all** ways. The task is the **adding problem**: each series has 40 rows of two columns, a
    random number and a mark. Two rows are marked, one in each half, and at the end the sum of the two marked numbers
    is wanted. The first of them lies 20 to 39 rows back.
    """)
    return


@app.cell
def _():
    rows, count = 40, 400
    _all_asked = rk.tasks.adding(rows, count, seed=0)
    _x, _y = _all_asked.take(np.arange(rows * count), np.float64)
    _segments = [(start, start + rows) for start in range(0, rows * count, rows)]
    adding = rk.Sequence(_x, _y, horizon=0, segments=_segments, score="last", name="adding")  # asked at the end alone
    model = rk.Chain(rk.LSTM(2, 16), rk.Dense(16, 1))
    return adding, model, rows


@app.function
def with_forget_bias(model, bias, seed):
    """New parameters, with a number added to the forget gate's bias: rows H to 2H, as the order is i, f, g, o."""
    params, _ = rk.setup(model, seed=seed)
    hidden = model.layers[0].hidden
    params["0.bias_ih"][hidden : 2 * hidden] += bias
    return params


@app.function
def reach_by_lag(model, params, series, rows):
    """Reach of the loss at the last row of 20 series, by lag."""
    seen = rk.trace(model, series, (0, 20 * rows), params=params)
    ends = np.arange(rows - 1, 20 * rows, rows)
    return seen.reach(at=ends).by_lag("c")[:rows]


@app.cell(hide_code=True)
def _(adding, model, rows):
    new_reach = {b: reach_by_lag(model, with_forget_bias(model, b, 0), adding, rows) for b in (-2, 0, 2, 4)}
    figure_new, (_axes,) = new_figure(8, 3.4)
    for (_b, _norms), _colour in zip(new_reach.items(), COLOURS, strict=True):
        _axes.semilogy(_norms / _norms[0], color=_colour, label=f"bias {_b:+}")
        _axes.semilogy((1 / (1 + np.exp(-_b))) ** np.arange(rows), color=_colour, linestyle=":", linewidth=1)
    _axes.set_ylim(1e-12, 10)
    _axes.set_xlabel("lag (rows)")
    _axes.set_ylabel("‖∂loss / ∂c‖, lag 0 = 1")
    tidy(_axes, "both")
    legend(_axes, 4)
    figure_new
    return (new_reach,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    Untrained nets. The dotted lines are $f^k$ with $f = \sigma(b)$, the way along the cell alone. For the biases −2
    and 0 the solid ones lie above them, because some units have a larger forget gate than others, and because of the
    way along $h$; for +2 and +4 less arrives at first than along an undisturbed cell. With bias 0, a ten-thousandth of
    the gradient and less arrives where the first number stands, 20 rows and more before the end. Is that enough?

    ## Does it matter for learning?

    The same net, trained from four biases and six seeds each. An error of 0.167 is that of always saying "1"; solved
    is what falls below 0.02.
    """)
    return


@app.cell
def _(adding, model, rows):
    curves = {}
    for _b in (-2, 0, 2, 4):
        for _seed in range(6):
            _schedule = rk.Schedule(adding, rk.Chunked(length=rows, lanes=8, shuffle=True), rk.Reset(), seed=_seed)
            curves[_b, _seed] = rk.fit(
                model,
                _schedule,
                rule=rk.Adam(5e-3),
                clip=rk.ClipNorm(1.0),
                epochs=50,
                params=with_forget_bias(model, _b, _seed),
            )
    solved = {
        _b: sum(curves[_b, _seed].history.epochs["loss"][-1] < 0.02 for _seed in range(6)) for _b in (-2, 0, 2, 4)
    }
    return curves, solved


@app.cell(hide_code=True)
def _(curves, solved):
    figure_curves, (_axes,) = new_figure(8, 3.6)
    for (_b, _count), _colour in zip(solved.items(), COLOURS, strict=True):
        for _seed in range(6):
            _name = f"bias {_b:+}: {_count} of 6 solved" if not _seed else None
            _axes.semilogy(curves[_b, _seed].history.epochs["loss"], color=_colour, linewidth=1.1, label=_name)
    _axes.set_xlabel("epoch")
    _axes.set_ylabel("mean squared error")
    tidy(_axes)
    legend(_axes, 2)
    figure_curves
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    All of them sit for a while at 0.167, where the sum is guessed. Then, one after the other, they find the long way,
    and fall. On the whole, the more of the gradient arrives, the sooner; where next to nothing arrives, it may not
    happen at all. A bias is no more than a better place to start from, but it costs nothing.

    ## Before and after training

    What has a net that began with bias 0, and solved the task, done to its reach?
    """)
    return


@app.cell(hide_code=True)
def _(adding, curves, model, rows):
    _seed = min(range(6), key=lambda seed: curves[0, seed].history.epochs["loss"][-1])
    best = curves[0, _seed]
    reach_before = reach_by_lag(model, with_forget_bias(model, 0, _seed), adding, rows)
    reach_after = reach_by_lag(model, best.params, adding, rows)
    figure_after, (_axes,) = new_figure(8, 3.4)
    _axes.semilogy(reach_before / reach_before[0], color=NAIVE, label="before training, bias 0")
    _axes.semilogy(reach_after / reach_after[0], color=MODEL, label="after training")
    _axes.set_xlabel("lag (rows)")
    _axes.set_ylabel("‖∂loss / ∂c‖, lag 0 = 1")
    tidy(_axes, "both")
    legend(_axes, 2)
    figure_after
    return best, reach_after, reach_before


@app.cell
def _(adding, best):
    rk.trace(best, adding, (0, 80)).plot("gates")  # two series of 40 rows; the state is reset at row 40
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    After training the line is nearly flat: what the cell holds at the beginning still counts at the end. In the
    picture of the gates two series stand side by side; at the line, row 40, the state is reset. The purple peaks in
    the first panel are the marks. Where one stands, input gates light up and something is written. And there are
    units whose forget gate is a bright line, 1 in every row: they keep what they were given until the end.

    Vanishing is no property of an LSTM; it is a property of its weights, and training changes them.

    ## Too much

    The other half of the story. Along $h$, through the weights, factors can be larger than 1. Here is the norm of the
    gradient of each step in one of the runs above:
    """)
    return


@app.cell(hide_code=True)
def _(curves):
    norms = np.array(curves[4, 0].history.steps["norm"])
    figure_norms, (_axes,) = new_figure(8, 3)
    _axes.semilogy(norms, color=MODEL, linewidth=0.7)
    _axes.axhline(1.0, color=INITIAL, linestyle="--", label="ClipNorm(1.0)")
    _axes.set_xlabel("step")
    _axes.set_ylabel("norm of the gradient")
    tidy(_axes)
    legend(_axes)
    figure_norms
    return (norms,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    Single gradients are many times as long as the usual one. With SGD the step is as long as the gradient, and one
    such step throws the net far away from where it was; Adam's steps are bounded, but one huge gradient spoils its
    running means for a while. The remedy is simple: if the gradient is longer than some limit, keep its
    **direction**, and make it as long as the limit. The norm is that of all parameters together, so that they keep
    their proportions.
    """)
    return


@app.function
def my_clip(gradient, limit):
    """Exercise 3: a dict of arrays, scaled down if its norm over all numbers exceeds the limit, else as it is."""
    return None


@app.function(hide_code=True)
def clip_solution(gradient, limit):
    """One factor for all."""
    norm = np.sqrt(sum((g**2).sum() for g in gradient.values()))
    return {key: g * min(1.0, limit / norm) for key, g in gradient.items()}


@app.function(hide_code=True)
def clip_check(clip):
    model = rk.Chain(rk.LSTM(1, 3), rk.Dense(3, 1))
    params, _ = rk.setup(model, dtype="float64")
    schedule = rk.Schedule(rk.Sequence(5 * np.sin(np.arange(21.0))), rk.Continuation(length=20), rk.Carry())
    step = {"backend": "numpy", "rule": rk.SGD(1.0), "epochs": 1, "params": params, "dtype": "float64"}
    plain = rk.fit(model, schedule, **step).params
    gradient = {key: params[key] - plain[key] for key in params}  # one step of SGD with learning rate 1
    for limit in (0.5, 1e6):
        clipped = rk.fit(model, schedule, clip=rk.ClipNorm(limit), **step).params
        got = clip(gradient, limit)
        for key in params:
            wrong = differs(got[key], params[key] - clipped[key], f"{key} with the limit {limit:g}", 1e-5)
            if wrong:
                return wrong
    return ""


@app.cell(hide_code=True)
def _():
    clip = Exercise(my_clip, clip_solution, clip_check)
    show(clip)
    return (clip,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## When a short gradient points the wrong way

    In lesson 3 a cut after 40 rows made the gradient a bit shorter, and turned it a bit. It can be worse. In the task
    **influence balancing** an input pushes the target **up** for the next rows, and **down**, by more in all, 20 to
    46 rows later. Whoever looks only at the next rows learns half of the truth, and that half says the opposite.
    """)
    return


@app.cell
def _():
    balancing = rk.tasks.influence_balancing(3000)
    _model = rk.Chain(rk.LSTM(1, 16), rk.Dense(16, 1))
    _splitters = {
        "8 rows": rk.Continuation(length=8),
        "16 rows": rk.Continuation(length=16),
        "64 rows": rk.Continuation(length=64),
        "8 rows, and 56 of look-back": rk.Continuation(length=8, lookback=56),
    }
    _runs = {
        name: [
            rk.fit(_model, rk.Schedule(balancing, splitter, rk.Carry()), rule=rk.Adam(3e-3), epochs=30, seed=seed)
            for seed in range(4)
        ]
        for name, splitter in _splitters.items()
    }
    _losses = {name: [run.history.epochs["loss"][-1] for run in runs] for name, runs in _runs.items()}
    balanced_loss = {name: float(np.mean(losses)) for name, losses in _losses.items()}
    balanced = _runs["64 rows"][int(np.argmin(_losses["64 rows"]))]
    mo.md(
        "| gradient cut after | steps in an epoch | mean squared error after 30 epochs: mean of four nets, and each |\n"
        "|---|---|---|\n"
        + "\n".join(
            f"| {name} | {len(runs[0].history.steps['loss']) // 30} | **{balanced_loss[name]:.1f}**: "
            + ", ".join(f"{loss:.1f}" for loss in _losses[name])
            + " |"
            for name, runs in _runs.items()
        )
    )
    return balanced, balanced_loss, balancing


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    The state is carried throughout; only the reach of the gradient differs. Short windows make eight times as many
    steps, and still learn less: they are steps in a wrong direction. Short windows **with look-back** have both, many
    steps and the right direction. (How far a single net gets is partly luck: hence four.)

    And how wrong is the direction? At the weights of the best net from the third line of the table:
    """)
    return


@app.cell
def _(balanced, balancing):
    _weights = {key: array.astype(np.float64) for key, array in balanced.params.items()}
    _schedule = rk.Schedule(balancing, rk.Continuation(length=8), rk.Carry())
    balancing_bias = rk.gradient_bias(balanced.model, _weights, _schedule, lengths=(4, 8, 16, 32, 64, 128, 256))
    balancing_bias.plot()
    return (balancing_bias,)


@app.cell
def _(balanced, balancing):
    rk.trace(balanced, balancing, (1000, 1160), truncate=8).plot("reach")
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    First picture: the gradient of windows of 4 or 8 rows points **well away** from the direction in which the loss
    falls. (A cosine of 0 is a right angle. Nets from other seeds have given anything from 0 to 0.75 at 8 rows.) From
    64 rows on, where both the push up and the pull down lie inside, the cosine is near 1. Second picture: every line
    is a row whose loss is asked for, every column an earlier row. What lies left of the black stairs is what windows
    of 8 rows cut off: nearly all of it.

    (There is a way to have short windows on average and no bias at all: draw the length of each window by chance, and
    weigh the gradient up where it gets through. `Continuation(length=rk.Geometric(32), reweight=True)` does that; the
    price is noise.)

    ## How long should a window be?

    Measure the reach, and see where it ends. A rule of thumb: the lag from which on it stays below a hundredth of
    what it was.
    """)
    return


@app.function
def my_window(norms, share):
    """Exercise 4: norms (K,) by lag 0, 1, ...: the first lag from which on all are below share * norms[0]."""
    return None


@app.function(hide_code=True)
def window_solution(norms, share):
    """One more than the last lag that is not below it. Norms may rise again, so the first one below is not enough."""
    return int(np.flatnonzero(norms >= share * norms[0]).max()) + 1


@app.function(hide_code=True)
def window_check(window):
    lags = np.arange(200)
    for norms, share, wanted, what in (
        (0.9**lags, 0.01, 44, "0.9 to the power of the lag"),  # 0.9 ** 44 = 0.0097
        (np.where(lags == 60, 1.0, 0.5**lags), 0.01, 61, "norms that die away, with an echo at lag 60"),
        (5 * 0.9**lags, 0.01, 44, "5 times 0.9 to the power of the lag"),  # a share is one of the norm at lag 0
    ):
        wrong = differs(window(norms, share), wanted, f"the window for {what}")
        if wrong:
            return wrong
    return ""


@app.cell(hide_code=True)
def _():
    window = Exercise(my_window, window_solution, window_check)
    show(window)
    return (window,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    But mind the trap: the reach of an **untrained** net is short because the net is new, not because the data are.
    Measure after some training, and again with longer windows. If the reach grows with the window, the window was too
    short.

    ## What to take along

    - Over many rows a gradient is multiplied many times. It vanishes or explodes unless the factors are near 1.
    - In an LSTM the factors along the cell are the forget gates. The net sets them; their bias sets where it starts.
    - Clip the norm: it keeps the direction and limits the damage of single steps.
    - A cut gradient can mislead, not just be short, where near and far influences are opposed. Look-back mends it.
    - The reach can be measured, before and after training: `rk.trace(...).reach()`, `rk.gradient_bias(...)`.
    """)
    return


@app.cell(hide_code=True)
def _(
    balanced_loss,
    balancing_bias,
    bias,
    clip,
    half_life,
    new_reach,
    norms,
    plain,
    reach_after,
    reach_before,
    solved,
    window,
):
    _cosine = {row["length"]: row["cosine"] for row in balancing_bias.of()}
    checks = {
        "a plain net's gradient vanishes with small weights and explodes with large ones": bool(
            plain[0.6][-1] < 1e-6 and plain[2.0][-1] > 1e2
        ),
        "a larger forget bias lets more of a new net's gradient through": bool(
            np.all(np.diff([norms[30] / norms[0] for norms in new_reach.values()]) > 0)
        ),
        "more nets learn to add with a forget bias of 4 than of -2": solved[4] > solved[-2],
        "training has lengthened the reach": bool(
            reach_after[30] / reach_after[0] > 3 * reach_before[30] / reach_before[0]
        ),
        "single gradients are more than five times as long as the median": bool(norms.max() > 5 * np.median(norms)),
        "on influence balancing look-back learns more than short windows": (
            balanced_loss["8 rows, and 56 of look-back"] < 0.8 * balanced_loss["8 rows"]
        ),
        "there, a gradient cut at 8 rows is a poor guide, and one of 128 rows a good one": (
            _cosine[8] < 0.85 and _cosine[128] > 0.95
        ),
    }
    exercises = {"half_life": half_life, "bias": bias, "clip": clip, "window": window}
    summary(checks)
    return checks, exercises


if __name__ == "__main__":
    app.run()
