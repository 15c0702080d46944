"""Three orthogonal slices of a map, in grey, dense being white."""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from cryodrake.analysis.isosurface import Viewable
from cryodrake.view.style import SERIES, dressed

AXES = ("z", "y", "x")  # of the array; each slice is across one of them
SHOWN = (("x", "y"), ("x", "z"), ("y", "z"))  # what lies across and up in each


def slices(view: Viewable, places: tuple[int, int, int], height: int) -> go.Figure:
    """Slices at these indices (z, y, x), each with lines where the other two are."""
    volume = view.volume
    places = tuple(int(np.clip(place, 0, len(volume) - 1)) for place in places)  # type: ignore[assignment]
    low, high = np.percentile(volume, (1, 99.9))
    titles = [f"{axis} = {(place - len(volume) // 2) * view.pixel_size_A:.1f} Å" for axis, place in zip(AXES, places, strict=True)]
    figure = make_subplots(rows=1, cols=3, subplot_titles=titles, horizontal_spacing=0.04)
    where = dict(zip(AXES, places, strict=True))
    for i, (place, (across, up)) in enumerate(zip(places, SHOWN, strict=True)):
        picture = volume.take(place, axis=i).astype(np.float32)
        heat = go.Heatmap(z=picture, zmin=low, zmax=high, colorscale="Greys_r", showscale=False, zsmooth="best", hoverinfo="skip")
        figure.add_trace(heat, row=1, col=i + 1)
        line = {"width": 1, "color": SERIES[1], "dash": "dot"}
        figure.add_vline(where[across], line=line, row=1, col=i + 1)
        figure.add_hline(where[up], line=line, row=1, col=i + 1)
    dressed(figure, height, margin={"l": 6, "r": 6, "t": 30, "b": 6}, uirevision="slices")
    for i in range(3):
        figure.update_xaxes(visible=False, range=[-0.5, len(volume) - 0.5], constrain="domain", row=1, col=i + 1)
        ratio = {"scaleanchor": "x" if i == 0 else f"x{i + 1}", "constrain": "domain"}
        # Rows of an image count downwards, so y does; z counts upwards.
        span = [len(volume) - 0.5, -0.5] if i == 0 else [-0.5, len(volume) - 0.5]
        figure.update_yaxes(visible=False, range=span, row=1, col=i + 1, **ratio)
    return figure
