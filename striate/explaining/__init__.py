"""What a net looks at in a picture: maps by several methods, each with figures of how far it can be believed."""

from striate.explaining.attributing import METHODS, attribution
from striate.explaining.palette import overlay

__all__ = ["METHODS", "attribution", "overlay"]
