"""Classes of other libraries' modules, as they are: flax, equinox, Keras, MLX, and objects with arrays.

A file for each library, with `KIND`, a `Kind`. A class of torch modules stands for the other one
(`standing.py`): it is made by the same arguments, it holds the same parameters and it is called the same
way, so that all that is known of classes of torch modules is known of it.
"""
