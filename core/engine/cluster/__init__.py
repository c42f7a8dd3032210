"""Jobs on a Ray cluster.

``RayExecutor`` in ``core/engine/cluster/`` sends each job to an actor of Ray, one per job in flight.

- **The bridge** (``core/engine/cluster/bridge.py``) is a process of its own, because Ray ends a process that has
  joined its cluster a minute after that is gone, and this must not be the dashboard. It imports nothing of LoRA
  Lab. ``Connection`` starts it, exchanges frames of bytes with it, and starts it anew, with growing pauses, when it
  ends.
- **The host** (``JobHost``) trains on the node, in a folder of its own, with ``run_job()``. ``talk()`` gives it
  commands and takes its messages, five times per second at least. It stays for half a minute after its job, since
  importing torch takes seconds.
- **What a job needs** (``needs_of()``) goes through the object store under a name and a version, so that it is put
  there once and each node fetches it once.
- **Places.** ``Workers`` has as many threads as there is room for jobs, and claims runs only while there is: one
  idle thread looks at the queue for all.
- **Losses.** ``LostError`` puts the unfinished runs of a job back into the queue, from their last checkpoints. A
  lab that dies ends its bridge and with it its actors; the next start finds the runs interrupted, as those of
  threads.
- **Bits.** A run alone has the bits that it has on threads. Versions that decide them are compared before a job
  begins.
"""
