"""The rows of the catalogue, a file a family: facts only. What they build stands in `striate/nets/<family>.py`."""
