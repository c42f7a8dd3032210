"""Many adapters on one base, answered in one batch.

``POST /api/predict`` answers rows of which each may have another adapter of the same base. ``routes()`` in
``core/web/predict.py`` belong to the dashboard and to ``python -m core serve``, behind the same middleware (``chain()``
in ``core/web/chain.py``) and the same limits on connections (``limit()`` in ``core/web/server.py``). A request is
read by ``parse()`` in ``core/serving/request.py``; the types of ``core/serving/request.py`` have the bounds, and also
make the OpenAPI description. ``Predictor`` finds the runs in the store; its one thread computes all requests that
arrived while the last batch was computed, in one batch per base. ``MixedNetwork`` holds a base and the adapters that
were used last, within a limit of bytes, and reads others on demand. What the page shows per second is ``rate_of()`` in
``core/serving/request.py``.

``Rows`` holds the adapters of one layer: an adapter of rank r is r rows of A and r rows of B. Of the product of a
batch with all rows of A only the wanted entries are computed, and the product with B is a weighted sum of rows of
B; no adapter is copied, and ranks may differ. What an adapter adds is what its layers say in ``terms()``: x A B,
for DoRA a multiple of the base's output as well, and for methods that scale the layer's input its factors. Rows
without an adapter are not touched, so they are the base's own answer on that batch, bit for bit. A batch in which
every row has an adapter is computed by a transformer as training computes it (``core/training/fast_network.py``),
with weights that were put in oneDNN's order once; this is the same to rounding. A text is one row per token in most
layers. The head that an adapter brings is computed for the rows of that adapter (``OwnHeads``), and so are the
scores with relative positions of DeBERTa, whose layers project positions, which are no rows
(``core/serving/mixed.py``). ``READ`` in ``core/serving/inputs.py`` has a line for each kind of data.

``Panes`` in ``core/serving/panes.py`` answers for people: the Try it page asks networks of one experiment the same
input, each by itself, since full fine-tuning and merged networks share nothing with the base. Adapters share its
frozen weights in memory.
"""
