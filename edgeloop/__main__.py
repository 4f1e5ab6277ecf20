"""``python -m edgeloop script.py [args]``: see launch.py. The program will run in this very module."""

from .launch import main

main()
