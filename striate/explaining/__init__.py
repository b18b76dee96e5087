"""What a net looks at in an image: maps by several methods, each with measures of its faithfulness.

Importing this package is light: captum is loaded by the two methods that use it.
"""
