"""Time and memory before the start: what runs will take, and how many fit at once.

- **Forecasts** come from finished runs of the same work in the store, else from a calibration that a thread of
  ``Calibrator`` makes while nothing trains. The one that a run was launched with is the first line of its log,
  written in the transaction that queues it.
- **Step times** (``time_steps()``, ``python -m core time``) are measured while no run is queued or trains; a round
  during which training began is thrown away.

**Forecasts** for texts take their lengths into account: of time the mean length of a batch, of memory
(``memory_of()``) the longest text. ``Estimates.shortage()`` compares the memory of each run with what is free.
"""
