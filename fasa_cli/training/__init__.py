"""Training (section 4.1).

    sources.py       what is learned from, checked before it starts, and which sample comes n-th
    optimisation.py  the optimiser, its schedule, averaged weights, precision
    processes.py     one process or several, started by torchrun
    trainer.py       the loop, validation, exact resume
    folder.py        what a run writes: records, checkpoints, curves, a model card
    ablation.py      the five variants of Table 4 in turn

The n-th sample of a run is made with a generator seeded by (seed, n), so a run that is resumed
sees the samples it would have seen, whatever the number of workers and processes.
"""
