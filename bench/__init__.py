"""The measurements behind every figure in the documentation. `python -m bench` lists them."""
