// What must not travel to the server and back: outlines instead of points, clicks, cameras that turn together.
window.dash_clientside = window.dash_clientside || {};

// plotly gives up its selection whenever a figure is drawn anew; only the user's own double-click is meant.
const double_click = { last_down: 0, at: 0 };
document.addEventListener("mousedown", () => {
    const now = Date.now();
    if (now - double_click.last_down < 500) {
        double_click.at = now;
    }
    double_click.last_down = now;
}, true);

window.dash_clientside.cryodrake = {
    // The lasso's or the box's corners, with the columns that they are in.
    outline: function (selected, all, across, up) {
        const no_update = window.dash_clientside.no_update;
        const is_all = window.dash_clientside.callback_context.triggered.some((one) => one.prop_id.startsWith("latents-all"));
        if (is_all) {
            return null;
        }
        if (!selected) {
            return Date.now() - double_click.at < 1500 ? null : no_update;
        }
        if (selected.lassoPoints) {
            return { across: across, up: up, x: selected.lassoPoints.x, y: selected.lassoPoints.y };
        }
        if (selected.range) {
            const [a, b] = selected.range.x, [c, d] = selected.range.y;
            return { across: across, up: up, x: [a, b, b, a], y: [c, c, d, d] };
        }
        return no_update;
    },

    // Of more points than are drawn, others are drawn when the user looks closer.
    window: function (change, is_many, across, up, known) {
        const no_update = window.dash_clientside.no_update;
        if (!is_many || !change) {
            return no_update;
        }
        const edges = ["xaxis.range[0]", "xaxis.range[1]", "yaxis.range[0]", "yaxis.range[1]"].map((key) => change[key]);
        if (edges.every((edge) => typeof edge === "number")) {
            return { across: across, up: up, edges: edges };
        }
        return known && change["xaxis.autorange"] ? null : no_update;
    },

    clicked: function (click, known) {
        if (!click || !click.points.length) {
            return window.dash_clientside.no_update;
        }
        const row = click.points[0].customdata;
        return (known || []).filter((other) => other !== row).concat([row]).slice(-12);
    },

    choice: function (region, limits, where, ids) {
        const thresholds = {};
        ids.forEach((id, i) => { thresholds[id.column] = limits[i]; });
        return { region: region, thresholds: thresholds, where: where };
    },

    // The scene that the user turns turns the others.
    link_cameras: function (change, id) {
        const no_update = window.dash_clientside.no_update;
        const graph = document.getElementById(id)?.querySelector(".js-plotly-plot");
        const key = Object.keys(change || {}).find((name) => /^scene\d*\.camera$/.test(name));
        if (!graph || !key || graph.cryodrakeTurning) {
            return no_update;
        }
        const others = Object.keys(graph._fullLayout).filter((name) => /^scene\d*$/.test(name) && name + ".camera" !== key);
        if (!others.length) {
            return no_update;
        }
        const cameras = {};
        others.forEach((name) => { cameras[name + ".camera"] = change[key]; });
        graph.cryodrakeTurning = true;
        window.Plotly.relayout(graph, cameras).finally(() => { graph.cryodrakeTurning = false; });
        return no_update;
    },
};
