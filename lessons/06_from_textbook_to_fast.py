import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="From textbook to fast")

with app.setup:
    import time
    from types import SimpleNamespace

    import marimo as mo
    import numba
    import numpy as np
    from exercise import Exercise, differs, show, summary

    import rnnkit as rk
    from rnnkit.view.plots import INITIAL, MODEL, NAIVE, TRUTH, legend, new_figure, tidy


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    # 6. From textbook to fast

    rnnkit has a backend that reads like lesson 2, and one that is compiled and trains a small net many times as fast.
    They compute **the same thing**. This lesson shows where the time goes, and what one does about it, step by step.

    All times are measured while you read, on **your** computer; they differ from machine to machine, and from run to
    run. Read the ratios. You need lesson 2. About 15 minutes, with four exercises.
    """)
    return


@app.function
def best_of(function, budget=0.15):
    """The shortest of some runs in seconds, which is what the work takes when nothing gets in the way."""
    runs = []
    while len(runs) < 3 or sum(runs) < budget:
        started = time.perf_counter()
        function()
        runs.append(time.perf_counter() - started)
    return min(runs)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## First: is it the same?

    A fast program that computes something else is of no use. Same weights, same window, with a reset in the middle
    and padding at the end of one lane: the gradients of the textbook and of the compiled backend, in float64.
    """)
    return


@app.cell
def _():
    _rng = np.random.default_rng(0)
    _model = rk.Chain(rk.LSTM(3, 7), rk.Dense(7, 2))
    _params, _state = rk.setup(_model, lanes=4, dtype="float64")
    _x, _d_y = _rng.standard_normal((20, 4, 3)), _rng.standard_normal((20, 4, 2))
    _reset, _valid = np.zeros((20, 4), bool), np.ones((20, 4), bool)
    _reset[11, 2], _valid[15:, 3] = True, False
    _found = []
    for _name in ("numpy", "numba"):
        _engine = rk.backend(_name)
        _own = _engine.from_numpy(_params)
        _, _, _tape = _engine.forward(_model, _own, _engine.from_numpy(_x), _engine.from_numpy(_state), _reset, _valid)
        _found.append(_engine.to_numpy(_engine.backward(_model, _own, _tape, _engine.from_numpy(_d_y)).params))
    gradient_distance = max(np.abs(_found[1][key] - g).max() / np.abs(g).max() for key, g in _found[0].items())
    print(f"largest relative difference in any gradient: {gradient_distance:.1e}")
    return (gradient_distance,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    Equal to rounding. So whatever follows changes the **order** and the **place** of the computation, never the
    mathematics.

    ## Where the time goes

    A small net, one lane, windows of 64 rows: forward, loss, backward, one step of Adam. Per window:
    """)
    return


@app.cell
def _():
    small = rk.Chain(rk.LSTM(1, 10), rk.Dense(10, 1))
    _noise = np.random.default_rng(0).standard_normal(64 * 200 + 1)
    _series = rk.Sequence(np.sin(np.arange(len(_noise)) / 20) + 0.1 * _noise)
    windows = rk.Schedule(_series, rk.Continuation(length=64), rk.Carry())
    return small, windows


@app.function
def pieces_of(name, model, length):
    """Seconds of forward, backward and update for one window in one lane, each called from Python."""
    engine = rk.backend(name)
    params, state = rk.setup(model)
    x = np.sin(np.arange(length, dtype=np.float32) / 20)[:, None, None]
    own, own_x, own_state = (engine.from_numpy(part) for part in (params, x, state))
    y, _, tape = engine.forward(model, own, own_x, own_state)
    gradient = engine.backward(model, own, tape, y).params
    rule = rk.Adam(1e-3)
    moments = engine.from_numpy(rk.initial_rule_state(rule, params))
    return {
        "forward": best_of(lambda: engine.forward(model, own, own_x, own_state)),
        "backward": best_of(lambda: engine.backward(model, own, tape, y)),
        "update": best_of(lambda: engine.update(rule, own, gradient, moments)),
    }


@app.cell
def _(small, windows):
    profile = {
        "numpy, the textbook": pieces_of("numpy", small, 64),
        "numba, called window by window": pieces_of("numba", small, 64),
    }
    rk.fit(small, windows, epochs=1)  # whatever has to be compiled is compiled here
    _seconds = best_of(lambda: rk.fit(small, windows, epochs=1)) / len(windows)
    profile["numba, 200 windows in one call"] = {"everything": _seconds}
    return (profile,)


@app.cell(hide_code=True)
def _(profile):
    figure_profile, (_axes,) = new_figure(9, 2.6)
    _colours = {"forward": MODEL, "backward": NAIVE, "update": "#BBBBBB", "everything": TRUTH}
    _named = set()
    for _row, (_name, _parts) in enumerate(profile.items()):
        _left = 0.0
        for _part, _seconds in _parts.items():
            _label = None if _part in _named else _part
            _named.add(_part)
            _axes.barh(_row, 1e3 * _seconds, left=1e3 * _left, color=_colours[_part], label=_label)
            _left += _seconds
        _axes.text(1e3 * _left, _row, f"  {1e6 * _left:,.0f} µs", va="center", fontsize=8)
    _axes.set_yticks(range(len(profile)), list(profile))
    _axes.invert_yaxis()
    _axes.margins(x=0.15)
    _axes.set_xlabel("ms a window of 64 rows")
    tidy(_axes, "x")
    legend(_axes, 4)
    figure_profile
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    Three bars, and two lessons: the mathematics of a window takes only a tiny part of what the textbook needs for it;
    and once it is compiled, even **calling** it window by window costs more than computing it.

    ## A call costs more than the work

    The textbook makes several dozen NumPy calls for every row, each on a handful of numbers. What does one call cost,
    by the length of its array?
    """)
    return


@app.cell(hide_code=True)
def _():
    _sizes = [1, 10, 100, 1_000, 10_000, 100_000]
    per_element = []
    for _size in _sizes:
        _a = np.ones(_size, np.float32)
        _repeats = max(1, 20_000 // _size)
        per_element.append(
            best_of(lambda a=_a, repeats=_repeats: [np.multiply(a, a) for _ in range(repeats)]) / _repeats / _size
        )
    figure_call, (_axes,) = new_figure(8, 3)
    _axes.loglog(_sizes, 1e9 * np.array(per_element), color=MODEL, marker="o")
    _axes.set_xlabel("numbers in the array")
    _axes.set_ylabel("ns a product")
    tidy(_axes, "both")
    figure_call
    return (per_element,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    On the left you pay for the call, on the right for the work. Ten units are far on the left. There are two ways
    out: make the arrays **longer** (more work in each call), or get rid of the **calls** (compile). A fast LSTM needs
    both.

    ## Longer: one product for all rows

    Equation (2) is $a_t = W_{ih}\,x_t + b + W_{hh}\,h_t$. The second product has to wait for $h_t$, row after row.
    The first does **not**: all $x_t$ are known from the start. So it can be done for the whole window in one go,
    before the loop over time begins.
    """)
    return


@app.function
def my_inputs(x, weight_ih, bias):
    """Exercise 1: W_ih x[t] + bias for all rows, (T, B, 4H), from x (T, B, I), without a loop over t."""
    return None


@app.function(hide_code=True)
def inputs_solution(x, weight_ih, bias):
    """`@` treats all axes but the last two as a batch; the last one of x meets the last one of the weights."""
    return x @ weight_ih.T + bias


@app.function(hide_code=True)
def inputs_check(inputs):
    rng = np.random.default_rng(0)
    x, weight_ih, bias = rng.standard_normal((6, 2, 3)), rng.standard_normal((8, 3)), rng.standard_normal(8)
    wanted = np.array([[weight_ih @ x[t, b] + bias for b in range(2)] for t in range(6)])
    return differs(inputs(x, weight_ih, bias), wanted, "the result")


@app.cell(hide_code=True)
def _():
    inputs = Exercise(my_inputs, inputs_solution, inputs_check)
    show(inputs)
    return (inputs,)


@app.cell
def _():
    _x = np.random.default_rng(0).standard_normal((64, 8)).astype(np.float32)  # 64 rows, 8 inputs
    _w = np.random.default_rng(1).standard_normal((128, 8)).astype(np.float32)  # 32 units
    _by_row = best_of(lambda: [row @ _w.T for row in _x])
    _at_once = best_of(lambda: _x @ _w.T)
    print(f"64 products: {1e6 * _by_row:,.0f} µs; one product: {1e6 * _at_once:,.0f} µs")
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    The same holds backward: exercise 3 of lesson 2 made one product of all the $\mathrm{d}a_t\,h_t^{\top}$. Of the
    products of a row only the one with $h$ is left in the loop.

    ## Longer: lanes

    That last one is $W_{hh}$ times **one** vector, and reads the whole matrix for it. With $B$ lanes it is $W_{hh}$
    times $B$ vectors: each weight, once fetched, is used $B$ times. That is the reason for lanes. Rows per second of
    whole training steps, by the number of lanes:
    """)
    return


@app.cell
def _():
    _model = rk.Chain(rk.LSTM(1, 32), rk.Dense(32, 1))
    _rows = 64 * 16 * 32
    _series = rk.Sequence(np.sin(np.arange(_rows + 1) / 20))
    lane_rates = {}
    for _lanes in (1, 2, 4, 8, 16, 32):
        _schedule = rk.Schedule(_series, rk.Continuation(length=64, lanes=_lanes), rk.Carry())
        lane_rates[_lanes] = _rows / best_of(lambda s=_schedule: rk.fit(_model, s, epochs=1))
    return (lane_rates,)


@app.cell(hide_code=True)
def _(lane_rates):
    figure_lanes, (_axes,) = new_figure(8, 3)
    _axes.plot(list(lane_rates), 1e-6 * np.array(list(lane_rates.values())), color=MODEL, marker="o")
    _axes.set_xscale("log", base=2)
    _axes.set_xlabel("lanes")
    _axes.set_ylabel("million rows a second")
    _axes.set_ylim(0)
    tidy(_axes)
    figure_lanes
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    (More lanes also mean fewer steps of the optimizer in an epoch. Fast is not the same as soon: lesson 4.) Lanes
    never look at each other, so with several processors each may take some lanes, and no one has to wait for anyone
    until the gradients are added up.

    ## Wider: activations

    Each row needs five activations a unit: σ three times, tanh twice. A processor can do 4, 8 or 16 float32
    operations in one instruction, but only if all of them do the same thing. The library's `tanh` takes one number at
    a time, and decides for each which formula to use. Written **without a decision**, with sums, products and a
    division alone, the compiler makes vectors of it.
    """)
    return


@app.cell
def _():
    import math

    @numba.njit
    def tanh_library(a, out):
        for k in range(a.size):
            out[k] = math.tanh(a[k])

    @numba.njit(fastmath={"contract", "nsz", "arcp", "reassoc"})
    def tanh_fraction(a, out):
        """Lambert's continued fraction, cut off: tanh(a) = a / (1 + a² / (3 + a² / (5 + ...)))."""
        for k in range(a.size):
            v = min(max(a[k], np.float32(-5)), np.float32(5))
            s = v * v
            above = v * (np.float32(135135) + s * (np.float32(17325) + s * (np.float32(378) + s)))
            below = np.float32(135135) + s * (np.float32(62370) + s * (np.float32(3150) + s * np.float32(28)))
            out[k] = above / below

    _a = np.linspace(-4, 4, 4096, dtype=np.float32)
    _plain, _wide = np.empty_like(_a), np.empty_like(_a)
    tanh_library(_a, _plain)  # compiled here
    tanh_fraction(_a, _wide)
    tanh_error = float(np.abs(_wide - np.tanh(_a.astype(np.float64))).max())
    for _name, _function, _out in (
        ("the library's tanh, number by number", tanh_library, _plain),
        ("without a decision", tanh_fraction, _wide),
    ):
        print(f"{_name}: {1e9 * best_of(lambda f=_function, out=_out: f(_a, out)) / _a.size:.2f} ns each")
    print(f"largest error of the second: {tanh_error:.0e}")
    return (tanh_error,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    This little one is not accurate enough for training in earnest; the kernels of rnnkit compute $e^a$ by splitting
    it into a power of two and a short polynomial, to the last digits, also without a decision, and make both σ and tanh
    from it. That one exponential is enough for both, you can see for yourself: tanh is a stretched σ.
    """)
    return


@app.function
def my_tanh(a, sigmoid):
    """Exercise 2: tanh(a) by means of the function sigmoid, σ(a) = 1 / (1 + exp(-a))."""
    return None


@app.function(hide_code=True)
def tanh_solution(a, sigmoid):
    """Stretched to the range from -1 to 1, and twice as steep."""
    return 2 * sigmoid(2 * a) - 1


@app.function(hide_code=True)
def tanh_check(tanh):
    a = np.linspace(-3, 3, 8)
    return differs(tanh(a, lambda v: 1 / (1 + np.exp(-v))), np.tanh(a), "tanh")


@app.cell(hide_code=True)
def _():
    tanh = Exercise(my_tanh, tanh_solution, tanh_check)
    show(tanh)
    return (tanh,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## No Python between windows

    The third bar of the profile: 200 windows in **one** call. A backend must bring five functions, and may bring a
    sixth, `train_block`, that goes through a whole block of windows: forward, loss, backward, update, state handed
    on, next window. If it does not, `rk.fit` composes it from the five. So take the compiled backend, and hide the
    sixth:
    """)
    return


@app.cell
def _(small, windows):
    _numba = rk.backend("numba")
    five = SimpleNamespace(
        **{name: getattr(_numba, name) for name in ("forward", "backward", "update", "from_numpy", "to_numpy")},
        name="numba, five functions",
    )
    one_call = rk.fit(small, windows, epochs=1).history.steps["loss"]
    by_window = rk.fit(small, windows, backend=five, epochs=1).history.steps["loss"]
    block_distance = np.abs(np.array(one_call) - by_window).max() / np.max(one_call)
    for _name, _engine in (("one call for all windows", "numba"), ("Python between windows", five)):
        _seconds = best_of(lambda engine=_engine: rk.fit(small, windows, backend=engine, epochs=1)) / len(windows)
        print(f"{_name}: {1e6 * _seconds:,.0f} µs a window")
    print(f"and the losses of 200 windows differ by {block_distance:.0e}, relative, in float32")
    return (block_distance,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    Same kernels, same numbers; the difference is Python alone. For a large net it would not matter, because a window
    takes long. For the small nets that people train on laptops it is most of the time.

    ## How fast could it be? The roofline

    To judge a program one needs a limit. There are two. A processor can do so many floating-point operations a second
    (its **peak**), and memory can deliver so many bytes a second (its **bandwidth**). Which one counts depends on how
    many operations a program does for each byte: its **intensity**. First, count the operations of a training step of
    an LSTM layer.

    A product of an $(m, k)$ and a $(k, n)$ matrix takes $2mkn$ operations (a multiplication and an addition each).
    Forward there are two products, with inputs and with states. Backward each of them becomes two: one for what it
    was multiplied by, one for its weights.
    """)
    return


@app.function
def my_operations(inputs, hidden, rows, lanes):
    """Exercise 3: floating-point operations of all products of one window, forward and backward."""
    return None


@app.function(hide_code=True)
def operations_solution(inputs, hidden, rows, lanes):
    """Forward 2 · 4H · (I + H) for each row of each lane; backward twice as much."""
    return 3 * 2 * 4 * hidden * (inputs + hidden) * rows * lanes


@app.function(hide_code=True)
def operations_check(operations):
    class Counted(np.ndarray):
        """An array that counts the operations of its products."""

        total = 0

        def __matmul__(self, other):
            Counted.total += 2 * self.shape[0] * self.shape[1] * other.shape[1]
            return np.zeros((self.shape[0], other.shape[1])).view(Counted)

    def zeros(*shape):
        return np.zeros(shape).view(Counted)

    for inputs, hidden, rows, lanes in ((1, 10, 64, 1), (3, 8, 5, 4)):
        Counted.total = 0
        x, h, d_a = zeros(lanes, inputs), zeros(lanes, hidden), zeros(lanes, 4 * hidden)
        w_ih, w_hh = zeros(4 * hidden, inputs), zeros(4 * hidden, hidden)
        for _ in range(rows):
            x @ w_ih.T, h @ w_hh.T  # (2)
            d_a @ w_ih, d_a @ w_hh, d_a.T @ x, d_a.T @ h  # (2')
        wrong = differs(operations(inputs, hidden, rows, lanes), Counted.total, f"I {inputs}, H {hidden}")
        if wrong:
            return wrong
    return ""


@app.function
def my_roof(peak, bandwidth, intensity):
    """Exercise 4: the most operations a second at an intensity in operations a byte; bandwidth in bytes a second."""
    return None


@app.function(hide_code=True)
def roof_solution(peak, bandwidth, intensity):
    """Whichever limit is lower."""
    return np.minimum(peak, bandwidth * intensity)


@app.function(hide_code=True)
def roof_check(roof):
    for peak, bandwidth, intensity, wanted in ((100.0, 10.0, 2.0, 20.0), (100.0, 10.0, 50.0, 100.0)):
        wrong = differs(roof(peak, bandwidth, intensity), wanted, f"the roof at intensity {intensity}")
        if wrong:
            return wrong
    return ""


@app.cell(hide_code=True)
def _():
    operations = Exercise(my_operations, operations_solution, operations_check)
    roof = Exercise(my_roof, roof_solution, roof_check)
    mo.vstack([show(operations), show(roof)])
    return operations, roof


@app.cell
def _():
    _squares = [np.random.default_rng(0).standard_normal((n, n)).astype(np.float32) for n in (256, 384, 512)]
    peak = max(2 * len(a) ** 3 / best_of(lambda a=a: a @ a, 0.5) for a in _squares)  # a good library's best product
    _long, _target = np.ones(1 << 25, np.float32), np.empty(1 << 25, np.float32)
    bandwidth = 2 * _long.nbytes / best_of(lambda: np.copyto(_target, _long))  # read once, written once

    speeds, intensities = {}, {}
    for _hidden in (8, 16, 32, 64, 128, 256):
        _steps = max(2, 512 // _hidden)
        _schedule = rk.Schedule(
            rk.Sequence(np.sin(np.arange(64 * 32 * _steps + 1) / 20)), rk.Continuation(length=64, lanes=32), rk.Carry()
        )
        _model = rk.Chain(rk.LSTM(1, _hidden), rk.Dense(_hidden, 1))
        _count = operations_solution(1, _hidden, 64, 32)
        speeds[_hidden] = _steps * _count / best_of(lambda m=_model, s=_schedule: rk.fit(m, s, epochs=1))
        # roughly, if no byte stayed in a cache: eight numbers a unit and row written and read again, and the weights
        # read forward, backward, and seven times by Adam (weight, gradient, two moments in; three of them out)
        _bytes = 4 * (2 * 8 * _hidden * 64 * 32 + 9 * 4 * _hidden * (1 + _hidden))
        intensities[_hidden] = _count / _bytes
    return bandwidth, intensities, peak, speeds


@app.cell(hide_code=True)
def _(bandwidth, intensities, peak, speeds):
    figure_roof, (_axes,) = new_figure(8, 4)
    _range = np.logspace(-0.5, 2.8, 100)
    _axes.loglog(_range, 1e-9 * roof_solution(peak, bandwidth, _range), color=TRUTH, label="the roof, as measured here")
    _axes.loglog(
        list(intensities.values()), 1e-9 * np.array(list(speeds.values())), "o-", color=MODEL, label="training steps"
    )
    for _hidden, _intensity in intensities.items():
        _axes.annotate(
            f"H {_hidden}", (_intensity, 1e-9 * speeds[_hidden]), (4, -12), textcoords="offset points", fontsize=8
        )
    _axes.axvline(peak / bandwidth, color=INITIAL, linestyle=":", label="where the two limits meet")
    _axes.set_xlabel("intensity (operations a byte)")
    _axes.set_ylabel("GFLOP/s")
    tidy(_axes, "both")
    legend(_axes)
    figure_roof
    return


@app.cell(hide_code=True)
def _(bandwidth, peak, speeds):
    _largest = max(speeds, key=lambda hidden: speeds[hidden])
    _share, _small_share = speeds[_largest] / peak, speeds[8] / peak
    mo.md(f"""
    Here the peak is {1e-9 * peak:,.0f} GFLOP/s, the fastest product of matrices that NumPy managed in many tries, and
    memory moves {1e-9 * bandwidth:,.0f} GB/s. The fastest of these nets, H {_largest}, reaches {_share:.0%} of the
    peak; H 8 reaches {_small_share:.1%}. (More than 100 % means that the computer was busy with something else while
    the peak was measured. Run the cell again.)

    Small nets are far below the flat roof, and that is not because of memory: their few weights stay in the cache.
    What holds them back stands in neither limit. A row must wait for the row before it, and a chain of short
    operations, each waiting for the last, leaves most of the processor idle. Only more units, or more lanes, give it
    something to do meanwhile.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## What to take along

    - First make it right, then make it fast, and hold the fast one to the right one: equal gradients.
    - A call on a few numbers costs more than the numbers. Make arrays longer, or get rid of calls.
    - What does not depend on $h$ leaves the loop over time: one product for all inputs, one for all weight gradients.
    - Lanes use each weight several times. Decisions stop vectors. Between windows, even Python counts.
    - A limit, measured on the same machine, tells how much there is left to gain.

    How far this has been taken is in `bench/RESULTS.md`, with peers, and with what was not reached.
    """)
    return


@app.cell(hide_code=True)
def _(
    block_distance,
    gradient_distance,
    inputs,
    lane_rates,
    operations,
    per_element,
    profile,
    roof,
    tanh,
    tanh_error,
):
    _textbook, _compiled, _block = (sum(parts.values()) for parts in profile.values())
    checks = {
        "textbook and compiled backend agree on every gradient": gradient_distance < 1e-10,
        "training in one call and window by window gives the same losses": block_distance < 1e-5,
        "the fraction without a decision is tanh, to three digits": tanh_error < 1e-3,
    }
    measured = {
        "measured: the compiled backend is faster than the textbook": _compiled < _textbook,
        "measured: and faster still without Python between windows": _block < _compiled,
        "measured: in a short array a product costs ten times what it costs in a long one": (
            per_element[0] > 10 * per_element[-1]
        ),
        "measured: 8 lanes train more rows a second than one": lane_rates[8] > lane_rates[1],
    }
    exercises = {"inputs": inputs, "tanh": tanh, "operations": operations, "roof": roof}
    summary(checks | measured)
    return checks, exercises, measured


if __name__ == "__main__":
    app.run()
