"""rnnkit as a feed for a PyTorch loop of your own: two data sets in turn, and again in the next epoch.

One net learns to forecast both. What happens to the state is said once, in the schedule: each lane walks its own strip
of a data set in chunks, every chunk goes on from the state that its lane had at the end of the one before, and a lane
starts anew where time jumps, and in every epoch. `LaneState` does it to the states of `torch.nn.LSTM`.

    python examples/feed_pytorch.py
"""

from pathlib import Path

import torch

import rnnkit as rk

DATA = Path(__file__).parent / "data"
FILES = ("ambient_temperature_system_failure.csv", "machine_temperature_system_failure.csv")
HIDDEN, EPOCHS = 16, 3

torch.set_num_threads(1)  # arrays this small leave threads nothing to do but wait for each other
torch.manual_seed(0)
lstm, head = torch.nn.LSTM(1, HIDDEN), torch.nn.Linear(HIDDEN, 1)
optimizer = torch.optim.Adam([*lstm.parameters(), *head.parameters()], lr=3e-3)

feeds = []
for file in FILES:
    series = rk.Sequence.open(DATA / file, time="timestamp", target="value", gap="1h")  # cut where time jumps
    series = series.with_scaler(rk.Standard.fit(series))
    schedule = rk.Schedule(series, rk.Continuation(length=48, lanes=8), rk.Carry())
    zeros = torch.zeros(1, schedule.lanes, HIDDEN)  # (layers, B, H): the lanes are axis 1
    feeds.append((schedule, rk.LaneState((zeros, zeros), axis=1)))  # data sets have lanes of their own, and one net

for epoch in range(EPOCHS):
    for schedule, lanes in feeds:
        total = count = 0.0
        for batch in schedule.batches(epoch):
            x, y, weight = (torch.from_numpy(array) for array in (batch.x, batch.y, batch.weight))
            outputs = []
            # Most windows are one piece. One into which a new segment is packed is cut where its lane starts anew;
            # between pieces the gradient goes on, so that the loss below is that of the whole window.
            for rows, state in lanes.walk(batch):
                hidden, state = lstm(x[rows], state)
                outputs.append(head(hidden))
                # The state that the next window starts from is detached: its numbers go on, its graph does not. Else
                # the next backward() would walk into the graph of this window, which this one's has freed. That is
                # truncated back-propagation through time: the state knows the past, only the gradient stops.
                lanes.put(state)
            errors = ((torch.cat(outputs) - y) ** 2).squeeze(2)
            loss = (errors * weight).sum() / weight.sum()  # weight is 0 at padding
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float((errors.detach() * weight).sum())
            count += float(weight.sum())
        print(f"epoch {epoch}  {schedule.series.name}  mean squared error {total / count:.4f}")
