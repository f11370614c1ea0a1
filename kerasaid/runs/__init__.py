"""Run a notebook with parameters, record it, and report it.

| file | what happens there |
|---|---|
| `notebooks.py` | which notebooks there are, their titles and parameters |
| `parameters.py` | what a parameters cell declares, and values from a person, checked |
| `execute.py` | one run: its folder, memory, interruption |
| `engine.py` | how papermill executes a notebook here |
| `screen.py` | progress, time left, the log of cells |
| `figures.py` | a run's figures as PNG and SVG files |
| `record.py` | what a run leaves: `record.json`, read from the executed notebook |
| `pages.py` | HTML that needs nothing from outside |
| `sanitise.py` | what a notebook's own HTML may contain on those pages |
| `report.py` | several runs, one after another or at once, and their index page |
| `vary.py` | one notebook with each combination of values, and what changes |
| `compare.py` | runs of one notebook side by side |
| `history.py` | all recorded runs of one notebook |
| `series.py` | what several runs measured, row by row, and pictures of it |
| `differences.py` | what moved when strict tests failed |
| `cluster.py` | runs on a Dask cluster |
| `doctor.py` | what this machine has, and what would fail |
| `refresh.py` | re-execute the notebooks of the collection and normalise what is stored |
| `__main__.py` | the command line |
"""
