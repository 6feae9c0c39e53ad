"""The tables of the AutoShrink paper, rebuilt as far as a machine, its data and a budget of time allow.

    from autoshrink_paper.rebuilding import Asked, rebuild

    found = rebuild(Asked("table4", budget=1800), "runs/table4")
    print(found.markdown())

Research, beside the product: this package uses `autoshrink` and is no part of what installing that brings.
"""
