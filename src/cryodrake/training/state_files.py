"""Files of maps of states: for each a filtered map, half maps and their FSC; z_values.txt has the states' coordinates."""

import io
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from cryodrake.inference.latent_clusters import k_means
from cryodrake.io.atomic import write_text_atomic
from cryodrake.io.mrc import write_map
from cryodrake.training.events import AbstractReporter
from cryodrake.training.state_maps import LatentImages, StateMaps, maps_from_data

N_STATES = 6


def write_states(
    folder: Path, data: LatentImages, pixel_size_A: float, reporter: AbstractReporter, n: int = N_STATES, seed: int = 0
) -> None:
    """state_00.mrc … of up to n representative states (k-means centres moved to particles) from the data, in a new folder."""
    latents = data.latents.cpu().numpy()
    rows = k_means(latents, n, seed).distinct_rows
    folder.mkdir(parents=True, exist_ok=True)
    reporter.phase("states", len(rows), "back-projecting representative states")
    for i, row in enumerate(rows.tolist()):
        write_state(folder, f"state_{i:02d}", maps_from_data(data, data.latents[row]), pixel_size_A)
        reporter.step(i + 1)
    write_z_values(folder, latents[rows])


def write_state(folder: Path, name: str, maps: StateMaps, pixel_size_A: float) -> None:
    """NAME.mrc, its half maps NAME_half1_unfil.mrc and …2…, and NAME_fsc.csv, with the number of images in each shell."""
    write_map(folder / f"{name}.mrc", maps.map.cpu().numpy(), pixel_size_A)
    for number, volume in enumerate(maps.half_maps, start=1):
        write_map(folder / f"{name}_half{number}_unfil.mrc", volume.cpu().numpy(), pixel_size_A)
    shells = torch.arange(1, len(maps.fsc)) / (maps.map.shape[-1] * pixel_size_A)
    columns = torch.stack([shells, maps.fsc[1:].cpu(), maps.n_images[1:].cpu()], dim=1)
    text = io.StringIO()
    header = "frequency_inv_A,fsc,images"
    np.savetxt(text, columns.numpy(), fmt=("%.6f", "%.6f", "%d"), delimiter=",", header=header, comments="")
    write_text_atomic(folder / f"{name}_fsc.csv", text.getvalue())


def write_z_values(folder: Path, z: Float[np.ndarray, "m z"]) -> None:
    """z_values.txt, one state a row, as cryoDRGN has it."""
    text = io.StringIO()
    np.savetxt(text, z, fmt="%.7g")
    write_text_atomic(folder / "z_values.txt", text.getvalue())
