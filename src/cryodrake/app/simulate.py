"""`cryodrake simulate`: particle images of a known structure, with the truth beside them."""

from cryodrake.app.options import write_options
from cryodrake.app.progress import open_screen
from cryodrake.data.simulation import simulate
from cryodrake.data.simulation_config import SimulateConfig
from cryodrake.io.atomic import write_text_atomic


def main(config: SimulateConfig) -> None:
    """Simulates, saves the options, and says where everything is."""
    run(config)
    print(f"  {config.out / 'particles.star'}  the particles\n  {config.out / 'truth'}  what is true of them")


def run(config: SimulateConfig) -> None:
    """Simulates with progress on the screen, draws the true maps, and saves the options."""
    from cryodrake.analysis.map_folder import write_series_views  # matplotlib, a second to load

    with open_screen() as screen:
        screen.phase("simulate", 1000, f"simulating {config.n:,} images")
        simulate(config, lambda share: screen.step(int(1000 * share)))
        maps = sorted((config.out / "truth" / "volumes").glob("*.mrc"))
        screen.phase("stills", 1, "drawing the true maps")
        write_series_views(config.out / "truth" / "volumes", maps)
    write_text_atomic(config.out / "job.toml", write_options(config, "simulate"))
