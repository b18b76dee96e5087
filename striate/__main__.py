"""python -m striate"""

from striate.cli import main

main()
