"""The rule: what is tested of results, what may be claimed of full fine-tuning and adapters, and what to do next.

:func:`core.rule.decide.decide` makes an :class:`core.rule.answer.Answer` of results and earlier looks; it calls no lab,
so that another rule is another function of the same shape.
"""
