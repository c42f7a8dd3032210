"""TensorBoard and MLflow: a run is written whole, once it is over.

- **When**: :class:`core.tracking.tracking.Tracking` writes runs that end to the trackers of ``LORA_LAB_TRACK``, and an
  experiment with its report when the page or ``python -m core track`` asks. The dashboard shows what still trains.
- **Once**: a tracker marks a run as whole last, with its state and the time of its end. A run with this mark is left
  alone; any other trace of it, as after a kill or an end that was not the last, is deleted before it is written. A lock
  in the home folder has writers take turns.
- **Without effect on training**: trackers only read the store and the files of runs, in threads of their own.
"""
