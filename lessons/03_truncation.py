import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Truncation: two errors, one cut")

with app.setup:
    from itertools import pairwise
    from pathlib import Path

    import marimo as mo
    import numpy as np
    from exercise import Exercise, differs, show, summary

    import rnnkit as rk
    from rnnkit.view.plots import MODEL, NAIVE, legend, new_figure, tidy

    DATA = Path(__file__).parent.parent / "examples" / "data"


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    # 3. Truncation: two errors, one cut

    Lesson 2 ended with a warning: to go back through a series, the whole way forward must be remembered. So everybody
    reads a long series in **windows**, and makes a step of the optimizer after each. What happens to the state
    between two windows, and what to the gradient, are two different questions. Most of the trouble comes from mixing
    them up.

    You need lessons 1 and 2. PyTorch is used if it is installed; if not, its words are shown as they were recorded.
    About 20 minutes, with four exercises.
    """)
    return


@app.cell
def _():
    try:
        import torch

        torch.set_num_threads(1)  # so small a net does not need more
    except ImportError:
        torch = None
    mo.md("PyTorch is not installed here: what it said is shown from a record.") if torch is None else mo.md(
        f"PyTorch {torch.__version__.partition('+')[0]} is here: everything below really happens."
    )
    return (torch,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## The loop that everyone writes first

    The state after a window is what the next one should start from. So hand it on:
    """)
    return


@app.function
def train_in_windows(torch, hand_on, retain_graph=False, update=True, windows=40, rows=16):
    """Train on a sine, window after window; returns the losses, and the number of operations behind each of them."""
    torch.manual_seed(0)
    lstm, head = torch.nn.LSTM(1, 8), torch.nn.Linear(8, 1)
    optimizer = torch.optim.SGD([*lstm.parameters(), *head.parameters()], lr=0.01)
    series = torch.sin(torch.arange(windows * rows + 1.0) / 5)[:, None, None]
    state, losses, operations = None, [], []
    for first in range(0, windows * rows, rows):
        if state is not None:
            state = hand_on(state)  # what this line does is what this lesson is about
        output, state = lstm(series[first : first + rows], state)
        loss = ((head(output) - series[first + 1 : first + rows + 1]) ** 2).mean()
        optimizer.zero_grad()
        loss.backward(retain_graph=retain_graph)
        operations.append(count_operations(loss))
        losses.append(loss.item())
        if update:
            optimizer.step()
    return losses, operations


@app.function(hide_code=True)
def count_operations(loss):
    """How many operations hang on a loss: what a backward pass walks through."""
    seen, waiting = set(), [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [before for before, _ in node.next_functions]
    return len(seen)


@app.function(hide_code=True)
def message_of(torch, recorded, **choices):
    """What PyTorch says when the state is handed on as it is."""
    if torch is None:
        return recorded
    try:
        train_in_windows(torch, lambda state: state, **choices)
    except RuntimeError as error:
        return str(error)
    return "no error"


@app.cell(hide_code=True)
def _(torch):
    first_message = message_of(
        torch,
        "Trying to backward through the graph a second time (or directly access saved tensors after they have already "
        "been freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). "
        "Specify retain_graph=True if you need to backward through the graph a second time or if you need to access "
        "saved tensors after calling backward.",
    )
    mo.vstack(
        [
            mo.md("`hand_on = lambda state: state`, and the second window ends in a **RuntimeError**:"),
            mo.md(f"> {first_message}"),
        ]
    )
    return (first_message,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## What happened

    In PyTorch a tensor is not only its numbers. It also knows which operations made it, and these know what they were
    made from: the **graph**, which is lesson 2's tape.

    ```
    window 0                        window 1
    x ─► LSTM ─► state ───────────► LSTM ─► state
           │        (numbers AND      │
         loss 0      the graph)     loss 1
    ```

    `loss 0.backward()` walks through the graph of window 0 and then frees it, as it is no longer needed. But the
    state still hangs on it. So `loss 1.backward()` walks through window 1, goes on along the state into window 0, and
    finds that graph freed. "A second time" it is indeed.

    The message has a suggestion: `retain_graph=True`. Keep the graph, and it can be walked again. Let us do what it
    says.
    """)
    return


@app.cell(hide_code=True)
def _(torch):
    second_message = message_of(
        torch,
        "one of the variables needed for gradient computation has been modified by an inplace operation: "
        "[torch.FloatTensor [32, 1]] is at version 2; expected version 1 instead. Hint: enable anomaly detection to "
        "find the operation that failed to compute its gradient, with torch.autograd.set_detect_anomaly(True, "
        "check_nan=False).",
        retain_graph=True,
    )
    mo.vstack(
        [
            mo.md("With `retain_graph=True` the second window ends in another **RuntimeError**:"),
            mo.md(f"> {second_message}"),
        ]
    )
    return (second_message,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    The graph of window 0 is there now. But lesson 2 says what going back needs: the **weights** with which the way
    forward was gone, as in $\mathrm{d}h^- = W_{hh}^{\top}\,\mathrm{d}a$. And between the two windows
    `optimizer.step()` has changed them, in place. PyTorch's LSTM keeps all of its weights for the way back, and names
    the first that has changed since (which one, depends on the build; $4H = 32$ gate rows tell that it is a weight):
    it was read at one version, and is at the next one now. PyTorch refuses, and rightly: with the new weights the
    gradient of the old pass would be wrong.

    ## And if the weights did not change?

    Then it works. Without `optimizer.step()` the same loop runs to its end. But look at what each backward pass walks
    through:
    """)
    return


@app.cell(hide_code=True)
def _(torch):
    if torch is None:
        kept, cut = [14 + 5 * k for k in range(40)], [14] * 40  # as recorded
    else:
        _, kept = train_in_windows(torch, lambda state: state, retain_graph=True, update=False)
        _, cut = train_in_windows(torch, lambda state: tuple(part.detach() for part in state))
    figure_operations, (_axes,) = new_figure(9, 3)
    _axes.plot(kept, color=NAIVE, label="handed on with its graph, retain_graph=True, no optimizer")
    _axes.plot(cut, color=MODEL, label="detached")
    _axes.set_ylabel("operations behind the loss")
    _axes.set_xlabel("window")
    _axes.set_ylim(0)
    tidy(_axes)
    legend(_axes, 2)
    figure_operations
    return cut, kept


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    Window 39 goes back through all 40 windows. Memory grows with the length of the series, and the work of all
    windows together with its square. Nobody asked for that; it is what "keep the graph" means.

    ## The cut

    What should be handed on are the **numbers** of the state, without the graph: `state.detach()`. That is the blue
    line, and the whole repair:

    ```python
    state = tuple(part.detach() for part in state)
    ```

    Now each backward pass ends where its window begins. That is **truncated back-propagation through time**: the
    gradient is truncated, the state is not.

    In rnnkit the state is a value from the start, so there is nothing to detach. The policy `Carry()` hands it on,
    and no gradient flows into the window before. To show that it is the same thing, here is the loop above, with the
    same weights:
    """)
    return


@app.cell
def _(torch):
    _sine = np.sin(np.arange(641.0, dtype=np.float32) / np.float32(5))
    _schedule = rk.Schedule(rk.Sequence(_sine), rk.Continuation(length=16), rk.Carry())
    _model = rk.Chain(rk.LSTM(1, 8), rk.Dense(8, 1))
    if torch is None:
        loop_distance = 0.0
        print("without PyTorch there is nothing to compare with")
    else:
        _by_torch, _ = train_in_windows(torch, lambda state: tuple(part.detach() for part in state))
        torch.manual_seed(0)
        _lstm, _head = torch.nn.LSTM(1, 8), torch.nn.Linear(8, 1)
        _params = {f"0.{name.removesuffix('_l0')}": p.detach().numpy().copy() for name, p in _lstm.named_parameters()}
        _params |= {f"1.{name}": p.detach().numpy().copy() for name, p in _head.named_parameters()}
        _run = rk.fit(_model, _schedule, backend="numba", rule=rk.SGD(0.01), epochs=1, params=_params)
        loop_distance = np.abs(np.array(_run.history.steps["loss"]) - _by_torch).max()
        print(
            f"losses of 40 windows: PyTorch with detach and rnnkit with Carry() differ by {loop_distance:.1e} (float32)"
        )
    return (loop_distance,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Detach is not reset

    This is the confusion that costs most. Both make the error go away. Let us look at the numbers: two windows of 10
    rows, read in three ways.

    - **whole**: 20 rows in one window, nothing cut;
    - **detached**: the second window starts from the numbers of the state, the gradient is cut;
    - **reset**: the second window starts from zeros.
    """)
    return


@app.cell
def _():
    engine = rk.backend("numpy")
    model = rk.Chain(rk.LSTM(1, 4), rk.Dense(4, 1))
    params, zeros = rk.setup(model, seed=0, dtype="float64")
    params["0.bias_ih"][4:8] += 3  # forget gates near 1: a net that remembers
    x = np.random.default_rng(0).standard_normal((20, 1, 1))
    d_last = np.zeros((20, 1, 1))
    d_last[-1] = 1  # what is derived is the output of the last row
    first, second = slice(0, 10), slice(10, 20)

    y_whole, _, tape_whole = engine.forward(model, params, x, zeros)
    d_x_whole = engine.backward(model, params, tape_whole, d_last).x

    _, state, tape_first = engine.forward(model, params, x[first], zeros)
    y_detached, _, tape_second = engine.forward(model, params, x[second], state)  # the state is numbers, no more
    d_x_detached = engine.backward(model, params, tape_second, d_last[second]).x

    y_reset, _, _tape = engine.forward(model, params, x[second], zeros)
    d_x_reset = engine.backward(model, params, _tape, d_last[second]).x
    return (
        d_last,
        d_x_detached,
        d_x_reset,
        d_x_whole,
        engine,
        first,
        model,
        params,
        second,
        tape_first,
        tape_second,
        tape_whole,
        x,
        y_detached,
        y_reset,
        y_whole,
        zeros,
    )


@app.cell(hide_code=True)
def _(d_x_detached, d_x_reset, d_x_whole, y_detached, y_reset, y_whole):
    _zero = np.zeros((10, 1, 1))
    figure_cut, (_outputs, _gradients) = new_figure(9, 5, 2)
    for _values, _d_x, _colour, _name, _wide in (
        (y_whole, d_x_whole, "#BBBBBB", "whole", 5),
        (y_detached, d_x_detached, MODEL, "detached", 1.6),
        (y_reset, d_x_reset, NAIVE, "reset", 1.6),
    ):
        _at = np.arange(20 - len(_values), 20)
        _outputs.plot(_at, _values[:, 0, 0], color=_colour, linewidth=_wide, label=_name)
        _sizes = np.abs(_d_x if len(_d_x) == 20 else np.concatenate([_zero, _d_x]))[:, 0, 0]
        _gradients.plot(_sizes, color=_colour, linewidth=_wide, label=_name, drawstyle="steps-mid")
    _outputs.set_title("what the net says", loc="left", fontsize=9)
    _gradients.set_title("size of the derivative of its last word with respect to each input", loc="left", fontsize=9)
    _gradients.set_xlabel("row")
    for _axes in (_outputs, _gradients):
        _axes.axvline(9.5, color="#888888", linestyle=":")
        tidy(_axes)
    legend(_outputs)
    figure_cut
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    Above, blue lies on grey: a detached net says **exactly** what it would have said uncut; it still knows the first
    ten rows. The reset one says something else until it has found its way again.

    Below, on the left of the cut, blue is zero, like a reset net: the first ten rows are **known but not blamed**. If
    they made the last word wrong, the gradient will not say so.

    | | state: what is known | gradient: what is learned from |
    |---|---|---|
    | whole | everything | everything |
    | detach, `Carry()` | everything | the window |
    | reset, `Reset()` | the window | the window |

    ## Can the cut be mended?

    What detaching throws away is exactly one thing: the derivative with respect to the state at the cut. `backward`
    returns it (`.state`, what stands before row 0) and takes it (`d_state`, with respect to the final state). So keep
    both tapes, go back through the second window, and hand on:
    """)
    return


@app.function
def my_mended(engine, model, params, tape_first, tape_second, d_y_first, d_y_second):
    """Exercise 1: the parameters' gradient (a dict) through both windows, as if nothing had been cut."""
    return None


@app.function(hide_code=True)
def mended_solution(engine, model, params, tape_first, tape_second, d_y_first, d_y_second):
    """Back through the second window, along its state into the first; every row adds to the same weights."""
    later = engine.backward(model, params, tape_second, d_y_second)
    earlier = engine.backward(model, params, tape_first, d_y_first, later.state)
    return {key: earlier.params[key] + later.params[key] for key in params}


@app.cell(hide_code=True)
def _(d_last, engine, first, model, params, second, tape_first, tape_second, tape_whole):
    def mended_check(mended):
        d_y = np.random.default_rng(0).standard_normal(d_last.shape)  # every row counts, those of the first window too
        wanted = engine.backward(model, params, tape_whole, d_y).params
        got = mended(engine, model, params, tape_first, tape_second, d_y[first], d_y[second])
        for key in wanted:
            wrong = differs(got[key], wanted[key], f"the gradient of {key}")
            if wrong:
                return wrong
        return ""

    mended = Exercise(my_mended, mended_solution, mended_check)
    show(mended)
    return (mended,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    So truncation is a choice, not a law: one can have the whole gradient in pieces, at the price of all the tapes (or
    of computing them again, which is `fit(..., remat="sqrt")`). What one cannot do is make a step of the optimizer in
    between.

    ## Between the two: look-back

    How far should the gradient reach? There are two numbers, and they are often confused, too:

    - $k_1$: after how many new rows a step is made;
    - $k_2$: how many rows the gradient goes back.

    The plain cut has $k_1 = k_2$, and treats rows unequally: the last row of a window sends its gradient through the
    whole window, the first one nowhere. With $k_2 > k_1$ each window reads some rows **again**, so that the gradient
    reaches them; they are not scored a second time. rnnkit writes this with the number of new rows, and the rows
    before them:

    `Continuation(length=k1, lookback=k2 - k1)`
    """)
    return


@app.cell
def _():
    hundred = rk.Sequence(np.arange(101.0), name="a hundred rows")
    looking_back = rk.Schedule(hundred, rk.Continuation(length=10, lookback=20), rk.Carry())
    print(looking_back.coverage())
    looking_back.plot()
    return (hundred,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    Grey is read again, blue is scored. (Orange is scored, too, but started from zeros: the series begins there.) The
    state that a window starts from is the one that its lane had 20 rows **before** the new ones. In the account
    above, "gradient reaches back" says it all: with look-back no scored row reaches less than 20 rows, except at the
    beginning of the series.
    """)
    return


@app.function
def my_splitter(k1, k2):
    """Exercise 2: the splitter of TBPTT(k1, k2), in one lane."""
    return None


@app.function(hide_code=True)
def splitter_solution(k1, k2):
    """New rows, and the rows before them that the gradient is to reach as well."""
    return rk.Continuation(length=k1, lookback=k2 - k1)


@app.function(hide_code=True)
def splitter_check(splitter):
    series = rk.Sequence(np.zeros(201))
    for k1, k2 in ((16, 48), (8, 8), (1, 30)):
        coverage = rk.Schedule(series, splitter(k1, k2), rk.Carry()).coverage()
        if coverage.scored_once != 200:
            return f"with k1={k1}, k2={k2} only {coverage.scored_once} of 200 rows count once in the loss."
        if coverage.steps != -(-200 // k1):
            return f"with k1={k1}, k2={k2} there are {coverage.steps} steps for 200 rows."
        if coverage.gradient_reach.maximum != k2 - 1:
            reach = coverage.gradient_reach.maximum
            return f"with k1={k1}, k2={k2} the gradient of a row reaches at most {reach} rows before it, not {k2 - 1}."
    return ""


@app.cell(hide_code=True)
def _():
    splitter = Exercise(my_splitter, splitter_solution, splitter_check)
    show(splitter)
    return (splitter,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## What the cut costs

    The truncated gradient is **not** the derivative of the loss. It is biased: what goes beyond the cut is missing,
    always, and no number of windows averages it away. How bad is it? Measure it: at the same weights, compute the
    gradient with the cut and without, and compare their **directions** by the cosine of the angle between them. 1:
    the same direction; 0: unrelated.

    The subject is a net that was trained on taxi counts in windows of 40 rows; its gradient is taken on the first
    2,000 of them.
    """)
    return


@app.cell
def _():
    taxi = rk.Sequence.open(DATA / "nyc_taxi.csv", time="timestamp", target="value")
    train, _, _ = taxi.split(0.7, 0.15)
    train = train.with_scaler(rk.Standard.fit(train))
    run = rk.fit(
        rk.Chain(rk.LSTM(1, 16), rk.Dense(16, 1)),
        rk.Schedule(train, rk.Continuation(length=40, lanes=4), rk.Carry()),
        rule=rk.Adam(1e-2),
        epochs=10,
        seed=0,
    )
    beginning, _, _ = train.split(2000, 0)
    weights = {key: array.astype(np.float64) for key, array in run.params.items()}
    in_windows = rk.Schedule(beginning, rk.Continuation(length=40), rk.Carry())
    bias = rk.gradient_bias(run.model, weights, in_windows, lengths=(1, 4, 10, 40, 100, 400))
    print(bias)
    bias.plot()
    return beginning, bias, run, weights


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    Above: direction and length of the truncated gradient, by window length. Below: why. The influence of an earlier
    state on the loss falls with the distance; where it has died away, a cut costs nothing. So a window should
    be a few times as long as that takes; more would be wasted. (Where short and long distances pull in
    **opposite** directions, a cut can do real harm; lesson 5 has such a case.)

    Compute one of these numbers yourself. `rk.trace(..., truncate=n)` gives the gradient of windows of n rows in one
    go.
    """)
    return


@app.function
def my_cosine(gradient, other):
    """Exercise 3: the cosine of the angle between two gradients, dicts of arrays, over all their numbers together."""
    return None


@app.function(hide_code=True)
def cosine_solution(gradient, other):
    """All numbers in one long vector each; then the dot product over both lengths."""
    a, b = (np.concatenate([part[key].ravel() for key in gradient]) for part in (gradient, other))
    return a @ b / np.sqrt((a @ a) * (b @ b))


@app.cell(hide_code=True)
def _(beginning, bias, run, weights):
    _whole, _cut = (
        rk.trace(run.model, beginning, (0, 2000), params=weights, warm=0, truncate=rows).gradient for rows in (None, 4)
    )

    def cosine_check(cosine):
        wanted = next(row["cosine"] for row in bias.of() if row["length"] == 4)
        return differs(cosine(_cut, _whole), wanted, "the cosine for windows of 4 rows", 1e-6)

    cosine = Exercise(my_cosine, cosine_solution, cosine_check)
    show(cosine)
    return (cosine,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## One question to end with

    Someone trains with windows of 32 rows and hands on the detached state. Row 32, the first of the second window, is
    predicted badly, because the net paid no attention to row 31. Can the gradient of that mistake teach it to?
    """)
    return


@app.function
def my_answer(first_row, lookback):
    """Exercise 4: how many earlier rows does the gradient of the loss at first_row reach, the first row of a window?"""
    return None


@app.function(hide_code=True)
def answer_solution(first_row, lookback):
    """As many as the window reads again before it, but none before the start of the series."""
    return min(first_row, lookback)


@app.function(hide_code=True)
def answer_check(answer):
    engine, model = rk.backend("numpy"), rk.Chain(rk.LSTM(1, 2))
    params, state = rk.setup(model, dtype="float64")
    series = rk.Sequence(np.sin(np.arange(201.0)))
    for row, lookback in ((32, 0), (32, 8), (64, 50), (4, 8)):
        schedule = rk.Schedule(series, rk.Continuation(row, lookback=lookback), rk.Carry())
        window = list(schedule.batches(dtype="float64"))[1]  # the window whose first scored row is `row`
        place = int(np.flatnonzero(window.rows[:, 0] == row)[0])
        y, _, tape = engine.forward(model, params, window.x, state, window.reset, window.valid)
        d_y = np.zeros_like(y)
        d_y[place] = 1
        d_x = engine.backward(model, params, tape, d_y).x[:place, 0, 0]
        reached = int((d_x != 0).sum())
        got = answer(row, lookback)
        if got != reached:
            return f"for row {row} with lookback={lookback} the gradient reaches {reached} earlier rows, not {got}."
    return ""


@app.cell(hide_code=True)
def _():
    answer = Exercise(my_answer, answer_solution, answer_check)
    show(answer)
    return (answer,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    Without look-back: none, so that mistake cannot teach it. What helps is that other pairs of neighbours stand
    **inside** a window, and the weights are the same for all of them. Truncation works because the same thing happens
    at many places.

    ## What to take along

    - "Backward through the graph a second time": the state was handed on with its graph. Hand on its numbers: `detach`.
    - `retain_graph=True` is the wrong medicine: refused as soon as the weights have changed, and slower with each
      window if they have not.
    - Detach keeps the state and cuts the gradient. Reset throws both away.
    - $k_1$ says how often a step is made, $k_2$ how far the gradient reaches. What a cut costs can be measured.

    Which windows may be joined by a carried state at all is the next lesson.
    """)
    return


@app.cell(hide_code=True)
def _(
    answer,
    bias,
    cosine,
    cut,
    d_x_detached,
    d_x_whole,
    first_message,
    kept,
    loop_distance,
    mended,
    second,
    second_message,
    splitter,
    torch,
    y_detached,
    y_reset,
    y_whole,
):
    _here = "" if torch is not None else " (from a record: PyTorch is not installed)"
    checks = {
        f"PyTorch refuses to go back through the graph a second time{_here}": "second time" in first_message,
        f"and, with the graph retained, through changed weights{_here}": "inplace operation" in second_message,
        f"a retained graph grows with every window, a detached one does not{_here}": (
            all(a < b for a, b in pairwise(kept)) and len(set(cut)) == 1
        ),
        "PyTorch with detach and rnnkit with Carry() train alike": loop_distance < 1e-5,
        "a detached net says what an uncut one says, a reset one does not": (
            np.abs(y_detached - y_whole[second]).max() < 1e-14 < 1e-3 < np.abs(y_reset - y_whole[second]).max()
        ),
        "inside its window the cut gradient is that of the uncut pass": (
            np.abs(d_x_detached - d_x_whole[second]).max() < 1e-14
        ),
        "uncut, the gradient reaches beyond the window": np.abs(d_x_whole[:10]).max() > 1e-4,
        "longer windows point nearer to the whole gradient: 1 row, 40 rows, 400 rows": bool(
            bias.of()[0]["cosine"] < bias.of()[3]["cosine"] <= bias.of()[-1]["cosine"] + 1e-3
        ),
    }
    exercises = {"mended": mended, "splitter": splitter, "cosine": cosine, "answer": answer}
    summary(checks)
    return checks, exercises


if __name__ == "__main__":
    app.run()
