"""Training: steps, epochs, and the events that report on them.

``SHARING`` in ``core/training/sharing.py`` says for every method what computes a step and how many runs train
together. A method that has no line is trained by ``AutogradStepper``, alone. ``bank_key()`` beside it says which
runs of a kind share a bank; the store keeps its values, so they must not change. A ``Bank`` looks at the networks
too, and refuses layers that its closed form does not cover.

Transformers are trained by autograd, several runs side by side (``ParallelSteppers``), one thread each: on two
cores that is a sixth more than one run on both. What makes their step fast changes its numbers by rounding at most:

- **Random numbers** (``core/training/random_numbers.py``) are a function of the run's seed and the step. They reach
  dropout through a mode of torch that holds for one thread, so runs side by side draw what each draws alone, and a
  checkpoint needs no state of a generator.
- **Frozen blocks** (``core/training/frozen.py``) below the first trained one run without dropout. What they give is
  computed before the first step, token by token without padding, unless it takes more than a gigabyte.
  ``frozen_blocks()`` finds them without weights, for forms and forecasts; the log of a run says so.
- **Products** (``core/training/products.py``) are oneDNN's, and a layer with LoRA is one function of autograd.
  **The last block** of an encoder that classifies by its first token is computed for that token
  (``core/training/fast_network.py``); whether no other token matters is tried on each network. ``FastNetwork`` swaps
  both in for as long as a thread computes.
- **Recomputed activations** (``core/training/autograd.py``), where a run asks for them: blocks keep what enters
  them alone, and are computed again for gradients, with the same layers and the same random numbers.
- **Evaluation** computes a batch per core at once, and looks before each whether the run is to stop.
- **Batches** are of texts of similar length (``TextExamples.batched()``), and all runs of a bank have batches of
  the same lengths at the same step, so that none waits for another.

The tests compare the fast step with autograd on a CPU only. **On any other device a bank proves itself** before its
first step (``proven()`` in ``core/engine/jobs/choice.py``, ``fault_of()`` in ``core/training/bank/proof.py``):

- It does three steps per batch size, on CUDA through the graph that training replays. Each member does the same
  steps by autograd, each from the bank's weights and optimizer state before it.
- Losses, both moments of Adam and logits must agree with autograd's to 1e-4 of the sum of absolute values, and
  updates with what Adam makes of the moments. Where float32 itself costs more, as with a learning rate that makes
  the logits explode, autograd in float64 says how much more.
- The images are those whose units are farthest from zero, because on which side of zero a unit lies that is almost
  zero is decided by rounding, and changes a gradient by a percent.
- The bank's state is restored bit for bit, no random number is drawn, and the result is kept per process, device
  and kind of bank. The proof is not counted as training time.
- If a number differs or the fast step raises an error, ``ParallelSteppers`` trains the same networks with an
  ``AutogradStepper`` each, and the log of each run says so. Out of memory is no fault: the bank is split as always.

``proven(stepper, specs, prove=True)`` does the same on a CPU; ``tests/training/test_proof.py`` plants the faults.
"""
