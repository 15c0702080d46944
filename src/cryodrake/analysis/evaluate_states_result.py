"""What `evaluate` found about states, and its words."""

from dataclasses import dataclass

Curves = tuple[tuple[float, ...] | None, ...]
MOST_STATES = 8  # whose areas are told in words


@dataclass(frozen=True)
class StatesResult:
    """Each particle's state against the truth; None where the job, or the truth, does not say.

    Attributes:
        n_states: true states, and `state_n` particles of each.
        decoded_from: where maps of states came from.
        images: how many images were decoded.
        image_auc_…: CryoBench's per-image FSC-AUC, of the whole of a job with classes each image by the job of its class;
            `static_auc_…` the consensus map's (of the class), for the same images, where there are states beside it;
            `…_moving_…` under the mask of what moves.
        state_fsc: per state the mean curve of its images, shells 0 … d/2; `state_auc` its area.
        is_circle: the coordinate goes round; correlations are then of angles, of a line rank correlations.
        pc_correlation: |correlation| of the coordinate with the first component, on a circle with the angle in the
            plane of the first two.
        coordinate_correlation, coordinate_r2: of the coordinate with its cross-validated k-nearest-neighbour regression
            from the latents; on a circle R² is that of cosine and sine.
        circle_gap: longest step between neighbouring states' mean latents over the median one (1: the circle closes).
        neighbour_share: share of the nearest latents that have the same state; `neighbour_chance` by chance.
        kmeans_…, gmm_…: adjusted Rand index and mutual information of clusters, as many as states.
        n_groups, groups_…: of groups.npy, as many as the run found.
        share_in_right_class: of classes.npy, after the best assignment.
        state_rotation_error_median_deg: after the one global alignment.
        notes: what could not be evaluated, and why.
    """

    n_states: int
    state_n: tuple[int, ...]
    decoded_from: str | None = None
    images: int = 0
    image_auc_mean: float | None = None
    image_auc_median: float | None = None
    static_auc_mean: float | None = None
    static_auc_median: float | None = None
    image_auc_moving_mean: float | None = None
    image_auc_moving_median: float | None = None
    static_auc_moving_mean: float | None = None
    static_auc_moving_median: float | None = None
    state_fsc: Curves | None = None
    state_auc: tuple[float | None, ...] | None = None
    is_circle: bool | None = None
    pc_correlation: float | None = None
    coordinate_correlation: float | None = None
    coordinate_r2: float | None = None
    coordinate_neighbours: int | None = None
    circle_gap: float | None = None
    neighbour_share: float | None = None
    neighbour_chance: float | None = None
    kmeans_ari: float | None = None
    kmeans_ami: float | None = None
    gmm_ari: float | None = None
    gmm_ami: float | None = None
    n_groups: int | None = None
    groups_ari: float | None = None
    groups_ami: float | None = None
    share_in_right_class: float | None = None
    state_rotation_error_median_deg: tuple[float | None, ...] | None = None
    notes: tuple[str, ...] = ()

    def words(self) -> list[str]:
        """Lines for people."""
        lines = [*self._on_maps(), *self._on_coordinate(), *self._on_groups(), *self._on_poses()]
        return [f"States: {self.n_states} true ones.", *(f"  {line}" for line in (*lines, *self.notes))]

    def _on_maps(self) -> list[str]:
        if self.image_auc_mean is None:
            return []
        lines = [f"Maps of {self.images} images ({self.decoded_from}), FSC-AUC as CryoBench has it, mean (median):"]
        for name, of in (("", "whole map"), ("_moving", "what moves")):
            found = [getattr(self, f"{kind}_auc{name}_{what}") for kind in ("image", "static") for what in ("mean", "median")]
            if found[0] is None:
                continue
            line = f"  {of}: {found[0]:.3f} ({found[1]:.3f})"
            if found[2] is not None:
                gain = found[0] - found[2]
                line += f", of the static map {found[2]:.3f} ({found[3]:.3f}): "
                line += f"states {'gain' if gain >= 0 else 'lose'} {abs(gain):.3f}"
            lines.append(line + ".")
        areas = [f"{area:.3f} (state_{s:03d})" for s, area in enumerate(self.state_auc or ()) if area is not None]
        return [*lines, f"  by true map: {', '.join(areas)}."] if 1 < len(areas) <= MOST_STATES else lines

    def _on_coordinate(self) -> list[str]:
        if self.coordinate_r2 is None:
            return []
        r2 = self.coordinate_r2
        degree = "well" if r2 > 0.8 else "partly" if r2 > 0.3 else "hardly" if r2 > 0.05 else "not"
        first = "" if self.pc_correlation is None else f"; main component alone: {self.pc_correlation:.2f}"
        lines = [
            f"Latents tell the motion's coordinate {degree}: R² {r2:.3f} (nearest neighbours, cross-validated), "
            f"correlation {self.coordinate_correlation:.2f}{first}."
        ]
        if self.circle_gap is not None:
            closes = "closes" if self.circle_gap < 3 else "does not close"
            lines.append(f"The circle {closes} in latent space: its longest step is {self.circle_gap:.1f} of the median one.")
        return lines

    def _on_groups(self) -> list[str]:
        lines = []
        if self.neighbour_share is not None:
            lines.append(
                f"Of the nearest latents {self.neighbour_share:.1%} have the same state (by chance {self.neighbour_chance:.1%})."
            )
        if self.kmeans_ari is not None:
            lines.append(
                f"Clusters, {self.n_states} of them: adjusted Rand index {self.kmeans_ari:.2f} (k-means), {self.gmm_ari:.2f} "
                f"(Gaussian mixture); adjusted mutual information {self.kmeans_ami:.2f}, {self.gmm_ami:.2f}."
            )
        if self.n_groups is not None:
            lines.append(
                f"Separate groups that the run found: {self.n_groups}; adjusted Rand index {self.groups_ari:.2f}, adjusted mutual "
                f"information {self.groups_ami:.2f}."
            )
        if self.share_in_right_class is not None:
            lines.append(f"Images in the right class: {self.share_in_right_class:.1%}.")
        return lines

    def _on_poses(self) -> list[str]:
        known = [error for error in self.state_rotation_error_median_deg or () if error is not None]
        if not known:
            return []
        return [f"Rotations are off by {min(known):.2f}° (median of the best state) to {max(known):.2f}° (of the worst)."]
