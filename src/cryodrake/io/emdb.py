"""EMDB's file for a Fourier shell correlation: XML of (1/Å, correlation), as OneDep takes it beside a map.

Elements and axis titles are those of EMDB's schema emdb_fsc.xsd: a root <fsc> with a <coordinate> for each shell.
"""

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
from jaxtyping import Float

from cryodrake.io.atomic import write_bytes_atomic

AXES = {"xaxis": "Resolution (A-1)", "yaxis": "Correlation Coefficient"}


def write_fsc_xml(path: Path, frequency_inv_A: Float[np.ndarray, " s"], curve: Float[np.ndarray, " s"], title: str) -> Path:
    """One curve. Raises InputError where the folder is not writable or the disk full."""
    root = ET.Element("fsc", {"title": title, **AXES})
    for frequency, value in zip(frequency_inv_A, curve, strict=True):
        coordinate = ET.SubElement(root, "coordinate")
        ET.SubElement(coordinate, "x").text = f"{frequency:.6f}"
        ET.SubElement(coordinate, "y").text = f"{value:.6f}"
    ET.indent(root)
    write_bytes_atomic(path, ET.tostring(root, encoding="UTF-8", xml_declaration=True) + b"\n")
    return path
