"""The paper's setting from end to end without its data and weights: same names, same stages, small stand-ins.

It needs the checkout (dvc.yaml, profiles/) and proves nothing about accuracy; so it is no part of the library.
"""
