"""What is sent to TensorBoard and MLflow: read from the store, written once, live or for experiments of the past.

``Tracking`` sends runs to TensorBoard and MLflow. It reads the store and files of runs, and writes nothing there.
``Source`` makes a ``TrackedRun`` of a run: settings by their path in the spec, and a ``Series`` for each quantity,
with times that depend on the store alone. ``Sender`` compares it with what the tracker has, and writes the rest in
batches. **What a tracker has is asked of the tracker**, by ``points()`` and ``complete()``, so that a kill between
a write and a note of it can lead neither to a gap nor to doubles; there is no such note here. What it answered is
remembered until something fails or another process writes, which ``Turns`` tells. Points are compared by step and
value: where the store's curve no longer begins with them, since the run was resumed from an older checkpoint, or
where it went on after an end that was sent, the run is discarded there and written anew.

- **TensorBoard.** Each process begins event files of its own, in the folder of the run, so a record that a kill has
  cut off stays the last one of its file, where every reader ends. A write that fails is cut off again.
  ``lora-lab.json`` marks a run of which everything is there, after the files have been flushed.
- **MLflow.** A run is found by its tag ``lora_lab.run``, an experiment by ``lora_lab.experiment``;
  ``lora_lab.complete`` is set last. A metric that is sent again, since an answer was lost, has the same step, time
  and value, and MLflow stores it once. A second run with the same tag is deleted. Only MLflow's client class is
  used, not its active run; requests end after seconds and are not repeated by MLflow itself, and nothing is written
  into the current folder.

``Follower`` is the thread of a tracker in ``LORA_LAB_TRACK``: it looks at the store every few seconds, less often
while nothing trains, and after a failure with growing pauses. While something trains it computes a tenth of its
time at most: a point takes about 20 µs for TensorBoard and 170 µs for MLflow, as long as some steps of a small
network, and both take turns in Python. It follows runs that were in training since the tracker was first named, so
that those of the past are left to ``Tracking.begin()``, which the page calls, and ``python -m core track``. Reports
are made while nothing trains. They are made of the lab, which is above: whoever opens it gives ``Tracking`` a
function that makes one.
"""
