"""The queue: launching runs, workers that have them trained, what they report, and recovery after crashes.

- **Crashes.** ``Watchdog`` replaces threads that hang and calls ``Process.settle()``, which interrupts the runs of
  processes whose lock is free or whose heartbeat has stopped. An interrupted run goes on from its last checkpoint.
- **Finish.** ``rest_of()`` in ``core/engine/launcher.py`` says what of some runs ended before its last step and can be
  trained to it; ``Launcher.finish()`` queues that again, bases first. A job makes a checkpoint before it stops a run,
  and the store keeps it: ``DiskUsage`` removes such checkpoints, those of archived runs and the oldest first, where
  that makes enough room for what somebody asks for. A run that was queued again keeps the result of its stop until
  it begins. A base on which other runs have begun never changes under them: a new one like it is trained. What has
  diverged would do so again, and is no rest.

An experiment launched with ``trim`` keeps the networks of chosen settings only: ``Lab`` deletes the others when its
last run has ended (``core/results/choice.py``), since somebody asked for that in the form.
"""
