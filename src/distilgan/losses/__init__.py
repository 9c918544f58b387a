"""Pure functions from tensors to scalars; every docstring carries its equation and source."""
