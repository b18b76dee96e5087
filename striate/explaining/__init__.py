"""What a net looks at in an image: maps by several methods, each with measures of its faithfulness.

Importing this package is light: captum is loaded by the two methods that use it.
"""

from striate.drawing.heat import overlay
from striate.explaining.attributing import METHODS, attribution
from striate.explaining.explanation import Explanation, explain, write_explanations
from striate.explaining.faithfulness import Faithfulness, faithfulness, weight_dependence

__all__ = [
    "METHODS",
    "Explanation",
    "Faithfulness",
    "attribution",
    "explain",
    "faithfulness",
    "overlay",
    "weight_dependence",
    "write_explanations",
]
