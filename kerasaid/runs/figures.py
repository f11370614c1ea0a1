"""The figures of a run as files: `figures/01-CELL.png`, and the same as SVG.

The picture of an output is PNG. The kernel that drew it also writes an SVG, where
`KERASAID_FIGURES` names a folder (see `kerasaid.plots.show`), and notes its name in the output's
metadata, so stored notebooks do not grow.
"""

import base64
import binascii
import re
from pathlib import Path

FOLDER = "figures"


def save(node, drawn, folder):
    """Write each picture of an executed notebook, numbered and named by its cell's id.

    Args:
        node: the executed notebook; the paths are noted in its outputs' metadata.
        drawn: the folder into which the kernel wrote SVG files; they are moved from there.
        folder: where `figures/` is made, if there is a picture.

    Returns:
        A list of {"png", "svg", "alt"}; paths are relative to the folder, with `/`.
    """
    found = []
    for cell in node.cells:
        for output in cell.get("outputs", []):
            try:
                picture = base64.b64decode(output.get("data", {}).get("image/png", ""))
            except binascii.Error:
                continue
            if not picture:
                continue
            cell_id = re.sub(r"[^\w-]", "_", cell.get("id", "cell"))
            name = f"{FOLDER}/{len(found) + 1:02}-{cell_id}"
            figure = {"png": f"{name}.png", "svg": None, "alt": _alt(output)}
            (Path(folder) / FOLDER).mkdir(exist_ok=True)
            (Path(folder) / figure["png"]).write_bytes(picture)
            noted = output.metadata.get("kerasaid", {})
            svg = Path(drawn) / Path(str(noted.get("svg"))).name
            if svg.is_file():
                svg.replace(Path(folder) / f"{name}.svg")
                figure["svg"] = noted["svg"] = f"{name}.svg"
            found.append(figure)
    return found


def _alt(output):
    alt = output.metadata.get("image/png", {}).get("alt", "")
    text = output.data.get("text/plain", "")
    return alt or ("" if text.startswith("<") else text)  # as in <Figure size 640x480 ...>
