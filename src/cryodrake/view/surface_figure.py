"""Maps as shaded surfaces, up to four side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from cryodrake.analysis.isosurface import Surface, Viewable
from cryodrake.view.style import FAINT, SURFACES, dressed, plain

MOST = 4
LIGHT = {"ambient": 0.34, "diffuse": 0.8, "specular": 0.25, "roughness": 0.55, "fresnel": 0.08}
LAMP = {"x": 1200, "y": -900, "z": 2500}
EYE = {"x": 0.0, "y": -1.3, "z": 0.45}
HEAD_px, HALF_PAGE_px, PAGE_px = 44, 620, 1300
REACH = 0.78  # of the half box: most boxes are half empty; more where the surface goes farther


@dataclass(frozen=True, eq=False)
class Shown:
    """A map, its name above it, and its level in σ."""

    title: str
    view: Viewable
    sigmas: float


def surfaces(
    shown: Sequence[Shown], height: int, hide_dust: bool = False, revision: str = "maps", width: int = HALF_PAGE_px
) -> go.Figure:
    """Scenes of these maps (one at least) side by side; all show the same field of view, so that maps can be compared.

    Args:
        revision: the camera stays where the user put it while this is the same.
        width: of the figure on a usual screen: narrow scenes are looked at from farther away.
    """
    figure = go.Figure()
    found = [one.view.surface(one.sigmas, hide_dust) for one in shown]
    widest_A = max(_reach_A(one.view, surface) for one, surface in zip(shown, found, strict=True))
    layout: dict = {"showlegend": False, "uirevision": revision, "margin": {"l": 0, "r": 0, "t": HEAD_px, "b": 0}}
    layout["modebar"] = {"orientation": "v"}  # beside the maps, not over their names
    hidden = {"visible": False, "range": [-widest_A, widest_A]}
    away = max(1.0, (height - HEAD_px) * len(shown) / width)
    for i, (one, surface) in enumerate(zip(shown, found, strict=True)):
        name = "scene" if i == 0 else f"scene{i + 1}"
        left, right = i / len(shown), (i + 1) / len(shown)
        figure.add_trace(_mesh(surface, name, SURFACES[i % len(SURFACES)]))
        layout[name] = {
            "domain": {"x": [left, right], "y": [0, 1]}, "xaxis": hidden, "yaxis": hidden, "zaxis": hidden, "aspectmode": "cube",
            "camera": {"eye": {axis: away * value for axis, value in EYE.items()}, "up": {"x": 0, "y": 0, "z": 1}},
            "dragmode": "orbit", "uirevision": revision,
        }  # fmt: skip
        words = f"<b>{plain(one.title)}</b><br><span style='color:{FAINT}'>level {one.view.level(one.sigmas):.4g}</span>"
        middle = {"x": (left + right) / 2, "xref": "paper", "yref": "paper", "xanchor": "center", "showarrow": False}
        figure.add_annotation(text=words, y=1.0, yanchor="bottom", font={"size": 12}, **middle)
        if not len(surface.faces):
            figure.add_annotation(text="nothing is this dense", y=0.5, font={"color": FAINT}, **middle)
    return dressed(figure, height, **layout)


def _reach_A(view: Viewable, surface: Surface) -> float:
    """From the centre to what must be seen, however it is turned."""
    farthest_A = float(np.linalg.norm(surface.vertices_A, axis=1).max(initial=0.0))
    return max(REACH / 2 * len(view.volume) * view.pixel_size_A, farthest_A)


def _mesh(found: Surface, scene: str, colour: str) -> go.Mesh3d:
    x, y, z = found.vertices_A.T
    a, b, c = found.faces.T
    return go.Mesh3d(
        x=x, y=y, z=z, i=a, j=b, k=c, scene=scene, color=colour, flatshading=False, lighting=LIGHT, lightposition=LAMP,
        hoverinfo="skip",
    )  # fmt: skip
