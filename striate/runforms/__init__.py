"""The content of a run's files: one class per file, its limits beside its types, and no other way to read or write it.

A run can come from anybody, and from an earlier or a later version: a field that is not always there has a default, one more is
one more line, and keys that a class does not know are allowed. `striate.forms` has the rules.
"""
