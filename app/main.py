"""The dashboard's script: Streamlit runs it anew for every click. What it shows stands in `promptlearn_app`."""

import sys
from pathlib import Path

FOLDER = str(Path(__file__).resolve().parent)
if FOLDER not in sys.path:
    sys.path.insert(0, FOLDER)

from promptlearn_app.frame import main  # noqa: E402 - found only with the folder above

main()
