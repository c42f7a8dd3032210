"""The library of imported networks: files of transformers, checked and kept once under the home.

A network arrives in ``networks/partial/``, one folder each with a lock. ``import_from()`` copies the files from a
``Place`` (a folder, a zip, or a repository at Hugging Face), checks them from the cheapest check to the most expensive
one, flushes, and renames the folder to the digest of its files. A process that dies leaves a folder
whose lock is free: ``clean()`` deletes it, or, for a download, the next one of the same commit goes on with it.
``Networks.remove()`` asks the store for runs with that digest, before and after it has moved the folder.

A ``TransformerSpec`` names a network by the digest of its files (``weights``) and holds its config as JSON, so that
shapes, parameters and layers are known wherever the spec is, without the files. ``Networks`` in
``core/networks/library/`` has the files: ``start()`` gives the network with a head drawn from a seed,
``tokenizer()`` its tokenizer, ``folder()`` what ``from_pretrained`` reads. A run of such a network starts from its
base's file, or from ``start()`` where it ``is_direct``; ``network_of()`` does the rest for both.

The **head** is what a checkpoint came without (``head_of()`` in ``core/networks/hugging_face.py``): the classifier,
and for some architectures a pooler. ``core/methods/targets.py`` says which parameters these are. Every method trains
them, no adapter replaces them, adapter files carry them as PEFT's saved modules, and ``base_fingerprint()`` leaves
them out.

A task of texts is made by ``TextView`` with the tokenizer of the network that learns it, so ``Tasks.get()`` takes
the network, and keeps tasks by its digest. ``TextExamples`` are token ids one after the other with the position of
each text; ``batch()`` pads to the longest text of a batch. The longest input is a field of ``TaskSpec``, which the
tasks of images leave at its default.
"""
