"""What one replica can hold and serve: pure arithmetic from a model's shape, a GPU's data sheet and a request's size.

Part of the foundation: the settings refuse what cannot work by it, the inference layer sizes probes and rollouts by it, and
`python -m components.capacity` writes docs/capacity.md from it. SI units throughout, the unit in every name.
"""
