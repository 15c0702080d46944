"""`analyze`: everything that is made of a job's latents, into its folder analysis/.

    pca.npy                              float32 (N, zdim)       explained_variance.{csv,png}
    labels.npy                           int64 (N,) clusters     centers.txt, centers_ind.txt   z and row, a line a cluster
    umap.npy                             float32 (N, 2)          where umap-learn is installed
    graph/z-path.txt, path.txt           shortest path over particles: z and row, a line a state
    direct/z-path.txt                    straight path           volumes/mean.mrc, pc_1.mrc …, scores.csv, view.cxc, stills
    particles.csv                        a line a particle       diagnostics.json
    latents_….png and .csv               figures and their numbers

Clusters count from 1, as in `filter`; labels.npy alone counts them from 0.

Files are replaced one by one; those of an earlier run that this one does not make go, and nothing else is touched.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from cryodrake.analysis import figures_latents as figures
from cryodrake.analysis.analysis_folder import AnalysisFolder
from cryodrake.analysis.covariates import Covariates, covariates_of
from cryodrake.analysis.decoder import Decoder, open_decoder
from cryodrake.analysis.diagnostics import diagnose
from cryodrake.analysis.embedding import umap_layout
from cryodrake.analysis.job_states import check_rows, read_array, read_classes, require_latents_of_one_model
from cryodrake.analysis.map_folder import write_component_views
from cryodrake.analysis.particle_table import particle_table
from cryodrake.analysis.paths import NeighbourGraph, straight_path
from cryodrake.analysis.volume_space import map_components
from cryodrake.errors import InputError
from cryodrake.inference.latent_clusters import Clusters, k_means
from cryodrake.inference.latent_components import Components, principal_components
from cryodrake.io.chimerax import NAME
from cryodrake.io.particles import read_particles
from cryodrake.training.config import AnalyzeConfig

MOST_MAP_COMPONENTS = 5


def analyze(config: AnalyzeConfig) -> list[str]:
    """Write JOB/analysis and return what to tell the user, line by line.

    Raises:
        InputError: the job has no latents, they do not fit its particles, or anchors that are not there or not connected.
    """
    latents, covariates = _read(config)
    decoder = open_decoder(config.job, latents, read_classes(config.job))
    folder = AnalysisFolder(config.job / "analysis")
    components = principal_components(latents)
    clusters = k_means(latents, config.clusters, config.seed)
    folder.npy("pca.npy", components.scores.astype(np.float32))
    folder.npy("labels.npy", clusters.labels)
    folder.matrix("centers.txt", latents[clusters.centre_rows])
    folder.matrix("centers_ind.txt", clusters.centre_rows[:, None])
    words = [
        f"{len(latents):,} particles, {latents.shape[1]} latents; component 1 has {components.share[0]:.1%} of the variance.",
        f"{len(clusters.centre_rows)} clusters, of {np.bincount(clusters.labels).min():,} to "
        f"{np.bincount(clusters.labels).max():,} particles; they count from 1, in labels.npy from 0.",
    ]
    layout = umap_layout(latents, config.seed)
    if layout is None:
        words.append("No UMAP: umap-learn is not installed (pip install 'cryodrake[umap]').")
    else:
        folder.npy("umap.npy", layout)
    words += _write_paths(folder, config, latents, clusters)
    words += _write_map_components(folder, decoder, latents[clusters.centre_rows])
    folder.table("particles.csv", particle_table(latents, components.scores, layout, clusters.labels, covariates))
    _write_figures(folder, components, layout, clusters, covariates)
    diagnosis = diagnose(latents, covariates, config.seed)
    folder.json("diagnostics.json", diagnosis.to_dict())
    folder.close()
    return [*words, "", *diagnosis.words(), "", f"All of it is in {folder.path}."]


def _read(config: AnalyzeConfig) -> tuple[Float[np.ndarray, "n z"], Covariates]:
    if not config.job.is_dir():
        raise InputError("no such job", where=config.job)
    latents = require_latents_of_one_model(config.job)
    if len(latents) < 2 or np.ptp(latents, axis=0).max() == 0:
        raise InputError("all particles have the same latents", where=config.job / "latents.npy")
    for row in config.anchors:
        if row >= len(latents):
            raise InputError(f"row {row} is not there", where="--anchors", expected=f"rows from 0 to {len(latents) - 1}")
    star = config.job / "particles.star"
    if not star.exists():
        return latents, Covariates()
    particles = read_particles(star, need_images=False)
    check_rows(config.job, "latents.npy", len(latents), len(particles))
    scale = read_array(config.job / "scales.npy")
    if scale is not None:
        check_rows(config.job, "scales.npy", len(scale), len(particles))
    return latents, covariates_of(particles, scale)


def _write_paths(folder: AnalysisFolder, config: AnalyzeConfig, latents: Float[np.ndarray, "n z"], clusters: Clusters) -> list[str]:
    chosen = np.array(config.anchors, dtype=np.int64)
    graph = NeighbourGraph(latents, config.neighbours, chosen if len(chosen) else clusters.centre_rows)
    if len(chosen) and not graph.are_connected(chosen):
        do = f"choose others, or more --neighbours than {config.neighbours}"
        raise InputError("no path leads from anchor to anchor: their states are separate", where="--anchors", do=do)
    ends = chosen if len(chosen) else graph.farthest_pair(clusters.distinct_rows)
    if ends is None:
        return [f"No paths: the clusters are separate states at {config.neighbours} --neighbours."]
    rows = graph.path(ends)
    folder.matrix("graph/path.txt", rows[:, None])
    folder.matrix("graph/z-path.txt", latents[rows])
    folder.matrix("direct/z-path.txt", straight_path(latents[ends], config.points))
    through = ", ".join(map(str, ends))
    return [f"Paths through the particles in rows {through} (from 0): {len(rows)} states along particles, and a straight one."]


def _write_map_components(folder: AnalysisFolder, decoder: Decoder | None, z: Float[np.ndarray, "m z"]) -> list[str]:
    if decoder is None:
        return ["No components of maps: the job holds no maps of its states."]
    with torch.no_grad():
        maps = decoder.decode(torch.from_numpy(z).float()).float().cpu()
    found = map_components(maps, MOST_MAP_COMPONENTS)
    if not len(found.share):
        return ["No components of maps: all clusters have the same map."]
    folder.map("volumes/mean.mrc", found.mean.numpy(), decoder.pixel_size_A)
    for i, axis in enumerate(found.axes):
        folder.map(f"volumes/pc_{i + 1}.mrc", axis.numpy(), decoder.pixel_size_A)
    folder.figure("volumes", _views_of_components, len(found.share))
    folder.columns("volumes/scores.csv", {f"pc{i + 1}": score for i, score in enumerate(found.scores.T.numpy())})
    folder.figure("volumes/explained_variance", figures.write_variance, found.share.numpy(), "maps")
    first = f"{float(found.share[0]):.1%} of what differs between them is along one component"
    return [f"Maps of the cluster centres ({decoder.words}): {first}."]


def _views_of_components(folder: Path, n: int) -> list[Path]:
    maps = [folder / f"pc_{i + 1}.mrc" for i in range(n)]
    write_component_views(folder, folder / "mean.mrc", maps)
    return [folder / NAME, *(path.with_suffix(".png") for path in (folder / "mean.mrc", *maps))]


def _write_figures(
    folder: AnalysisFolder, components: Components, layout: np.ndarray | None, clusters: Clusters, covariates: Covariates
) -> None:
    folder.figure("explained_variance", figures.write_variance, components.share)
    first = components.scores[:, 0]
    planes = []
    if components.scores.shape[1] > 1:
        planes.append(("latents", components.scores[:, :2], ("pc1", "pc2")))
    else:  # one latent: over its rank, so that a flat stretch is a state
        rank = np.argsort(np.argsort(first, kind="stable")) / len(first)
        planes.append(("latents", np.stack([rank, first], axis=1), ("rank", "pc1")))
    if layout is not None:
        planes.append(("latents_umap", layout.astype(np.float64), ("umap1", "umap2")))
    for stem, points, axes in planes:
        folder.figure(f"{stem}_density", figures.write_density, points, axes)
        folder.figure(f"{stem}_clusters", figures.write_clusters, points, axes, clusters.labels, clusters.centre_rows)
    for name in ("defocus_A", "confidence"):
        values = getattr(covariates, name)
        if values is not None:
            folder.figure(f"latents_{name.removesuffix('_A')}", figures.write_against, values, name, first, "pc1")
    if covariates.view is not None:
        folder.figure("latents_views", figures.write_by_view, covariates.view, first, "pc1")
