// What must not travel to the server and back: outlines instead of points, clicks, cameras that turn together.
window.dash_clientside = window.dash_clientside || {};

window.dash_clientside.cryodrake = {
    // The lasso's or the box's corners, with the columns that they are in.
    outline: function (selected, across, up) {
        if (!selected) {
            return null;
        }
        if (selected.lassoPoints) {
            return { across: across, up: up, x: selected.lassoPoints.x, y: selected.lassoPoints.y };
        }
        if (selected.range) {
            const [a, b] = selected.range.x, [c, d] = selected.range.y;
            return { across: across, up: up, x: [a, b, b, a], y: [c, c, d, d] };
        }
        return null;
    },

    clicked: function (click, known) {
        if (!click || !click.points.length) {
            return window.dash_clientside.no_update;
        }
        const row = click.points[0].pointIndex ?? click.points[0].pointNumber;
        return (known || []).filter((other) => other !== row).concat([row]).slice(-12);
    },

    choice: function (region, limits, ids) {
        const thresholds = {};
        ids.forEach((id, i) => { thresholds[id.column] = limits[i]; });
        return { region: region, thresholds: thresholds };
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
