"""One job as the page reads it: everything is read when it is asked for, and kept while its files stay as they are."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open

from cryodrake.analysis.decoder import Decoder, open_decoder
from cryodrake.analysis.isosurface import Viewable
from cryodrake.analysis.job_columns import job_columns
from cryodrake.analysis.job_particles import read_job_particles
from cryodrake.analysis.job_states import holds_classes, read_classes, read_latents
from cryodrake.analysis.viewing import Coverage, coverage
from cryodrake.errors import InputError
from cryodrake.inference.latent_components import Components, principal_components
from cryodrake.io.job import JobFolder
from cryodrake.io.mrc import read_map
from cryodrake.io.particles import ParticleFile
from cryodrake.physics.rotations import euler_deg_to_matrix
from cryodrake.training.stages import Stage, load_stage, stage_paths
from cryodrake.view.job_files import find_maps, tail
from cryodrake.view.memory import Memory

LOG_LINES = 40
CLASS_MAP = re.compile(r"maps/states/state_(\d+)")
OF_CLASSES = re.compile(r"(rot|tilt|psi)_deg|(latent|pc|umap)_\d+")  # columns that have a frame for each class


class JobReader:
    """A job's folder, read only, but for JOB/selections.

    Of the whole of a job with --classes it shows what needs no common frame: poses and latents are its classes' own.
    """

    def __init__(self, path: Path, name: str):
        self.path, self.name = path, name
        self._large, self._small = Memory(12), Memory(64)

    def status(self) -> dict[str, Any]:
        """status.json.

        Raises:
            InputError: it is not JSON.
        """
        try:
            return JobFolder(self.path).status
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"cannot be read: {error}", where=self.path / "status.json") from None

    def holds_classes(self) -> bool:
        """Whether this is the whole of a job with --classes."""
        return holds_classes(self.path)

    def class_statuses(self) -> dict[str, dict[str, Any]]:
        """status.json of each class's job that has begun, by "class 1" and so on; none without classes, nor those behind links.

        Raises:
            InputError: one is not JSON.
        """
        root, found = self.path.resolve(), sorted(self.path.glob("classes/class_[0-9][0-9]/status.json"))
        folders = [path.parent for path in found if path.resolve().is_relative_to(root)]
        return {f"class {int(folder.name[6:])}": JobReader(folder, folder.name).status() for folder in folders}

    def events(self) -> list[dict[str, Any]]:
        """events.jsonl.

        Raises:
            InputError: a line is not JSON.
        """
        path = self.path / "events.jsonl"
        try:
            return self._small.get("events", [path], lambda: JobFolder(self.path).events())
        except json.JSONDecodeError as error:
            raise InputError(f"cannot be read: {error}", where=path) from None

    def log_tail(self) -> str:
        """The last lines of log.txt."""
        return tail(self.path / "log.txt", LOG_LINES)

    def stages(self) -> list[Path]:
        """Files of the map as it appeared."""
        return stage_paths(self.path / "figures" / "stages")

    def stage(self, path: Path) -> tuple[Stage, Viewable]:
        """One of `stages`.

        Raises:
            InputError: as `load_stage`.
        """

        def read() -> tuple[Stage, Viewable]:
            stage = load_stage(path)
            return stage, Viewable.of(stage.volume, stage.pixel_size_A)

        return self._small.get(("stage", path), [path], read)

    def maps(self) -> dict[str, Path]:
        """All maps in the job's folder, by name."""
        return find_maps(self.path)

    def title(self, name: str) -> str:
        """A map's name, and its class where the map is that of a class."""
        found = CLASS_MAP.fullmatch(name) if self.holds_classes() else None
        return f"{name} (class {int(found[1]) + 1})" if found else name

    def class_maps(self) -> list[str]:
        """Of `maps` those of the classes, class 1 first; none where the job holds none."""
        return [name for name in self.maps() if CLASS_MAP.fullmatch(name)] if self.holds_classes() else []

    def viewable(self, name: object) -> Viewable:
        """A map of `maps`.

        Raises:
            InputError: there is no such map, or it cannot be read.
        """
        path = self.maps().get(name) if isinstance(name, str) else None
        if path is None:
            raise InputError("no such map", where=name, expected="one of the list")
        return self._small.get(("map", name), [path], lambda: Viewable.of(*read_map(path)))

    def main_map(self) -> str | None:
        """The map to show first; with classes it is that of the largest."""
        maps = self.maps()
        return next((name for name in ("maps/consensus", "maps/field", *maps) if name in maps), None)

    def particle_files(self) -> list[Path]:
        """What `columns` comes from."""
        names = ["job.toml", "particles.star", "particles.cs", "latents.npy", "groups.npy", "classes.npy", "class_posterior.npy"]
        return [self.path / name for name in (*names, "analysis/labels.npy", "analysis/pca.npy", "analysis/umap.npy")]

    def is_finished(self) -> bool:
        """Whether particles have their poses."""
        return (self.path / "particles.star").exists()

    def columns(self) -> dict[str, np.ndarray]:
        """As `job_columns`; with classes, without those that have a frame for each.

        Raises:
            InputError: the job is not finished, or its files do not go together.
        """
        return self._large.get("columns", self.particle_files(), self._columns)

    def _columns(self) -> dict[str, np.ndarray]:
        columns = job_columns(self.path)
        if not self.holds_classes():
            return columns
        return {name: values for name, values in columns.items() if not OF_CLASSES.fullmatch(name)}

    def latents(self) -> Float[np.ndarray, "n z"] | None:
        """JOB/latents.npy; None where there are none, or none of one frame.

        Raises:
            InputError: the file is damaged.
        """
        if self.holds_classes():
            return None
        return self._large.get("latents", self.particle_files(), lambda: read_latents(self.path))

    def components(self) -> Components:
        """Of the latents.

        Raises:
            InputError: there are none.
        """
        latents = self.latents()
        if latents is None:
            raise InputError("this job has no states", where=self.path, expected="a job run with --zdim")
        return self._large.get("components", self.particle_files(), lambda: principal_components(latents))

    def states(self) -> Float[np.ndarray, "n z"] | None:
        """What `decode` takes for each particle: its latent, or its class where classes have a map each; None without either.

        Raises:
            InputError: a file is damaged.
        """
        latents, classes = self.latents(), read_classes(self.path)
        return latents if latents is not None or classes is None else classes[:, None].astype(np.float64)

    def decoder(self) -> Decoder | None:
        """From a state to its map; None where the job has no states.

        Raises:
            InputError: as `open_decoder`.
        """

        def make() -> Decoder | None:
            return open_decoder(self.path, self.latents(), read_classes(self.path))

        return self._large.get("decoder", self._decoder_files(), make)

    def _decoder_files(self) -> list[Path]:
        return [*self.particle_files(), self.path / "checkpoints" / "field.safetensors", self.path / "maps" / "states"]

    def decode(self, z: Float[np.ndarray, " z"]) -> Viewable:
        """The map at a state.

        Raises:
            InputError: the job has no maps of states.
        """
        decoder = self.decoder()
        if decoder is None:
            raise InputError("this job has no maps of states", where=self.path, expected="a job run with --zdim")
        state = np.asarray(z, np.float32)

        def make() -> Viewable:
            volume = decoder.decode(torch.from_numpy(state)[None])[0]
            return Viewable.of(volume.float().cpu().numpy(), decoder.pixel_size_A)

        return self._small.get(("state", state.tobytes()), self._decoder_files(), make)

    def map_of_row(self, i: int) -> Viewable:
        """The map at a particle's state; the main map where all particles share one structure.

        Raises:
            InputError: the job has no map yet.
        """
        states = self.states()
        if self.decoder() is None or states is None:
            return self.viewable(self.main_map())
        return self.decode(states[i])

    def particles(self) -> ParticleFile:
        """With poses and images.

        Raises:
            InputError: as `read_particles`.
        """
        files = [self.path / "particles.star", self.path / "job.toml"]
        return self._large.get("particles", files, lambda: read_job_particles(self.path, need_images=True))

    def rotations(self) -> Float[np.ndarray, "n 3 3"] | None:
        """The particles' R: of the finished job, or of the newest checkpoint of one that runs; None where none of one frame are."""
        if self.holds_classes():
            return None
        star, saved = self.path / "particles.star", sorted((self.path / "checkpoints").glob("[0-9]*_*"))
        files = [star, *saved[-1:]]

        def read() -> Float[np.ndarray, "n 3 3"] | None:
            if star.exists():
                return _rotations_of_columns(self.columns())
            return _rotations_of_checkpoint(saved[-1]) if saved else None

        return self._large.get("rotations", files, read)

    def coverage(self) -> Coverage | None:
        """How evenly the structure is seen; None where no poses are known."""
        rotations = self.rotations()
        if rotations is None or not len(rotations):
            return None
        files = [self.path / "particles.star", *sorted((self.path / "checkpoints").glob("[0-9]*_*"))[-1:]]
        return self._large.get("coverage", files, lambda: coverage(np.asarray(rotations, np.float64)))

    def fsc_tables(self) -> dict[str, pd.DataFrame]:
        """Every FSC curve of the job by its file's name: frequency_inv_A, and columns that begin with fsc. With classes, each's."""
        found = {}
        paths = [self.path / "maps" / "fsc.csv", *sorted((self.path / "maps" / "states").glob("*_fsc.csv"))]
        if self.holds_classes():
            paths = sorted(self.path.glob("classes/class_*/maps/fsc.csv"))
        for path in paths:
            try:
                table = pd.read_csv(path)
            except (OSError, ValueError):  # not there yet, or not a table
                continue
            if "frequency_inv_A" in table.columns and len(table):
                found[path.parts[-3] if self.holds_classes() else _name_of_curve(path)] = table
        return found


def _name_of_curve(path: Path) -> str:
    """consensus, state_00 …"""
    return "consensus" if path.stem == "fsc" else path.stem.removesuffix("_fsc")


def _rotations_of_columns(columns: dict[str, np.ndarray]) -> Float[np.ndarray, "n 3 3"] | None:
    """A large particle file takes seconds to read: once is enough."""
    if "rot_deg" not in columns:
        return None
    euler_deg = np.stack([columns[name] for name in ("rot_deg", "tilt_deg", "psi_deg")], axis=1)
    return euler_deg_to_matrix(torch.from_numpy(euler_deg)).numpy()


def _rotations_of_checkpoint(folder: Path) -> Float[np.ndarray, "n 3 3"] | None:
    """Without reading the rest of it, which may be large. Before poses are searched all are the identity: None."""
    try:
        with safe_open(folder / "tensors.safetensors", framework="numpy") as file:
            rotations = file.get_tensor("rotation") if "rotation" in file.keys() else None  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError):
        return None
    if rotations is None or (rotations == rotations[:1]).all():
        return None
    return rotations
