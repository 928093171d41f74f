"""Examples in: a table of any usual kind becomes three splits of `Example`s, the same ones every time.

    data = load_dataset("tickets.csv", inputs=["message"], expected="label", group="customer")
    data.train, data.validation, data.test

`loading` puts it together, `rows` reads files and tables, `columns` gives each column its role, `values` turns cells
into JSON, `splits` assigns rows, `leaks` looks for what stands in two splits. Nothing here knows prompts, models or
scores.
"""

from promptlearn.dataset.leaks import Leak, find_leaks
from promptlearn.dataset.loading import Conflict, Dataset, load_columns, load_dataset

__all__ = ["Conflict", "Dataset", "Leak", "find_leaks", "load_columns", "load_dataset"]
