"""Run a notebook with parameters, record it, and report it.

| file | what happens there |
|---|---|
| `notebooks.py` | which notebooks there are, their titles and parameters |
| `execute.py` | one run: papermill, memory, interruption |
| `record.py` | what a run leaves: `record.json`, read from the executed notebook |
| `pages.py` | HTML that needs nothing from outside |
| `report.py` | several runs and their index page |
| `doctor.py` | what this machine has, and what would fail |
| `refresh.py` | re-execute the notebooks of the collection and normalise what is stored |
| `__main__.py` | the command line |
"""
