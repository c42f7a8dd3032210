"""Jobs: what is trained together, as pure data; what a job says and is told; and the places where jobs run.

**Commands** go the other way. A job asks nobody whether to stop: it takes what ``Commands`` holds, after each
report and between the parts of what takes longer. The recorder gives it ``Save`` every ten seconds, less often
where writing takes more than 2 % of the time; ``Workers.close()`` gives ``Leave``; and the thread of ``Requests``
gives ``Stop`` and ``Drop``: it looks at the store at once when this process stops or deletes a run, and five times
per second for what other processes have asked.
"""
