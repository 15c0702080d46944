"""The comparison as a table for people: every row says whether it was measured or extrapolated, and from what."""

BUSY = 0.75


def table(result: dict) -> str:
    """Lines of the table; the ratios are to our own whole command on the same images, where it was run."""
    rows = [f"{result['n_images']} images of {result['box']} px, {result['threads']} threads"]
    rows += [f"{'':46}{'wall':>10}{'CPU':>10}{'wall / ours':>13}{'CPU / ours':>12}   how"]
    same_images = result["images_in_set"] == result["n_images"]
    ours = result.get("cryodrake") if same_images else None
    if ours:
        rows += [_row("cryodrake abinit", ours["wall_s"] / 3600, ours["cpu_s"] / 3600, ours, "measured, whole command")]
    for peer in result.get("cryodrgn", []):
        rows += _cryodrgn_rows(peer, ours)
    if "relion" in result:
        rows += _relion_rows(result["relion"], ours)
    if "interop" in result:
        rows += _interop_rows(result["interop"])
    peers = [*result.get("cryodrgn", []), *([result["relion"]] if "relion" in result else [])]
    share = min((peer["measured"]["machine_share"] for peer in peers), default=1.0)
    if share < BUSY:
        rows += [f"A peer had {share:.0%} of its threads: on a busy machine trust the CPU columns, not the wall ones."]
    return "\n".join(rows)


def _row(name: str, wall_h: float, cpu_h: float, ours: dict | None, how: str) -> str:
    ratios = f"{'-':>13}{'-':>12}"
    if ours:
        ratios = f"{wall_h * 3600 / ours['wall_s']:13.0f}{cpu_h * 3600 / ours['cpu_s']:12.0f}"
    return f"{name:46}{_hours(wall_h)}{_hours(cpu_h)}{ratios}   {how}"


def _hours(hours: float) -> str:
    return f"{hours * 3600:8.1f} s" if hours < 0.1 else f"{hours:8.2f} h"


def _cryodrgn_rows(peer: dict, ours: dict | None) -> list[str]:
    seen, whole = peer["measured"], peer["extrapolated"]
    schedule = f"{whole['search_epochs']} searches + {whole['gradient_epochs']} gradient epochs"
    how = f"EXTRAPOLATED to its default {schedule}, from the measured costs below"
    cost, cpu = seen["per_image"]["wall_s"], seen["per_image"]["cpu_s"]
    rows = [_row(peer["program"], whole["wall_h"], whole["cpu_h"], ours, how)]
    for phase in ("search", "gradient"):
        label = f"    {phase} epoch, measured on {seen[f'{phase}_images']} images"
        rows += [f"{label:46}{cost[f'{phase}_s']:8.3f} s{cpu[f'{phase}_s']:8.3f} s{'':25}   an image"]
    return rows


def _relion_rows(peer: dict, ours: dict | None) -> list[str]:
    seen, whole = peer["measured"], peer["extrapolated"]
    if whole["is_whole_run"]:
        return [_row(peer["program"], whole["wall_h"], whole["cpu_h"], ours, "measured, whole run")]
    part = f"{seen['iterations_done']} iterations of a {'/'.join(map(str, seen['iterations']))} schedule"
    how = f"EXTRAPOLATED to its default {'/'.join(map(str, whole['iterations']))}, measured: {part}"
    rates = seen["per_image"]["cpu_s"]
    floor = "EXTRAPOLATED, every image at the rate of the cheapest iteration measured so far"
    return [
        _row(peer["program"], whole["wall_h"], whole["cpu_h"], ours, how),
        _row("    at its cheapest measured rate", whole["floor_wall_h"], whole["floor_cpu_h"], ours, floor),
        f"    CPU seconds an image, measured, by iteration: {' '.join(f'{rate:.2f}' for rate in rates)}",
    ]


def _interop_rows(check: dict) -> list[str]:
    verdict = "agrees" if check["agrees"] else "DOES NOT AGREE"
    numbers = f"min {check['fsc_min']:.3f}, mean {check['fsc_mean']:.3f}, min {check['fsc_min_in_particle']:.3f} masked"
    return [
        f"relion_reconstruct --ctf on our particles {verdict} with our map",
        f"    FSC up to our own 0.143 at {check['resolution_0143_A']:.1f} Å: {numbers}",
    ]
