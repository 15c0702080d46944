"""Maps as shaded surfaces, up to four side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from cryodrake.analysis.isosurface import Viewable
from cryodrake.view.style import FAINT, SURFACES, dressed

MOST = 4
LIGHT = {"ambient": 0.34, "diffuse": 0.8, "specular": 0.25, "roughness": 0.55, "fresnel": 0.08}
LAMP = {"x": 1200, "y": -900, "z": 2500}
CAMERA = {"eye": {"x": 0.0, "y": -1.3, "z": 0.45}, "up": {"x": 0, "y": 0, "z": 1}}
REACH = 0.78  # of the half box: most boxes are half empty


@dataclass(frozen=True, eq=False)
class Shown:
    """A map, its name above it, and its level in σ."""

    title: str
    view: Viewable
    sigmas: float


def surfaces(shown: Sequence[Shown], height: int, hide_dust: bool = False, revision: str = "maps") -> go.Figure:
    """Scenes side by side; all show the same field of view, so that maps can be compared.

    Args:
        revision: the camera stays where the user put it while this is the same.
    """
    figure = go.Figure()
    widest_A = max((len(one.view.volume) * one.view.pixel_size_A for one in shown), default=1.0) / 2 * REACH
    layout: dict = {"showlegend": False, "uirevision": revision, "margin": {"l": 0, "r": 0, "t": 30, "b": 0}}
    hidden = {"visible": False, "range": [-widest_A, widest_A]}
    for i, one in enumerate(shown):
        name = "scene" if i == 0 else f"scene{i + 1}"
        left, right = i / len(shown), (i + 1) / len(shown)
        found = one.view.surface(one.sigmas, hide_dust)
        x, y, z = found.vertices_A.T
        a, b, c = found.faces.T
        figure.add_trace(
            go.Mesh3d(
                x=x, y=y, z=z, i=a, j=b, k=c, scene=name, color=SURFACES[i % len(SURFACES)], flatshading=False,
                lighting=LIGHT, lightposition=LAMP, hoverinfo="skip",
            )
        )  # fmt: skip
        layout[name] = {
            "domain": {"x": [left, right], "y": [0, 1]}, "xaxis": hidden, "yaxis": hidden, "zaxis": hidden, "aspectmode": "cube",
            "camera": CAMERA, "dragmode": "orbit", "uirevision": revision,
        }  # fmt: skip
        words = f"<b>{one.title}</b>  <span style='color:{FAINT}'>level {one.view.level(one.sigmas):.4g}</span>"
        place = {"x": (left + right) / 2, "y": 1.0, "xref": "paper", "yref": "paper", "yanchor": "bottom"}
        figure.add_annotation(text=words, showarrow=False, font={"size": 12}, **place)
        if not len(found.faces):
            figure.add_annotation(text="nothing is this dense", showarrow=False, font={"color": FAINT}, **(place | {"y": 0.5}))
    return dressed(figure, height, **layout)
