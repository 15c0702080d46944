"""The FSC under a mask: its correction finds the true agreement, and RELION's post-processing finds the same."""

import shutil
import subprocess

import pytest
import starfile
import torch

from cryodrake.io.mrc import write_map
from cryodrake.physics.fourier import coeff_to_volume, volume_to_coeff
from cryodrake.physics.fsc import fsc, shell_index
from cryodrake.physics.fsc_masked import MARGIN, masked_fsc, with_random_phases
from cryodrake.physics.masks import sphere

BOX = 48


def white(seed):
    return torch.randn(BOX, BOX, BOX, generator=torch.Generator().manual_seed(seed))


def shaped(volume, amplitude):
    """Multiplied by amplitude(shell)."""
    return coeff_to_volume(volume_to_coeff(volume) * amplitude[shell_index(BOX).clamp(max=BOX // 2)])


@pytest.fixture(scope="module")
def pair():
    """Two maps of one signal in independent white noise, and their true FSC: 1/(1 + N/S)."""
    shell = torch.arange(BOX // 2 + 1, dtype=torch.float32)
    amplitude = 3 * torch.exp(-((shell / 9) ** 2))
    signal = shaped(white(0), amplitude)
    return signal + white(1), signal + white(2), amplitude**2 / (amplitude**2 + 1)


def test_random_phases_keep_amplitudes_and_what_is_before_them():
    volume = white(3)
    changed = with_random_phases(volume, 10, torch.Generator().manual_seed(0))
    before, after = volume_to_coeff(volume), volume_to_coeff(changed)
    assert torch.allclose(after.abs(), before.abs(), atol=2e-4)
    low = shell_index(BOX) < 10
    assert torch.allclose(after[low], before[low], atol=2e-4)
    curve = fsc(volume, changed)
    assert curve[:10] == pytest.approx(1.0, abs=1e-3)
    assert curve[11:].abs().max() < 0.1
    assert not torch.allclose(changed, with_random_phases(volume, 10, torch.Generator().manual_seed(1)))


def test_a_soft_mask_changes_little_and_the_correction_nothing(pair):
    a, b, truth = pair
    found = masked_fsc(a, b, sphere(BOX, 14, 8))
    assert found.first_shell == int(torch.nonzero(found.unmasked[1:] < 0.8)[0]) + 1
    assert (found.unmasked - truth)[2:].abs().max() < 0.1
    assert (found.corrected - truth)[3:20].abs().mean() < 0.05
    assert torch.equal(found.corrected[: found.first_shell + MARGIN], found.masked[: found.first_shell + MARGIN])


def test_what_a_hard_mask_makes_agree_is_taken_off(pair):
    """Maps on a pedestal, under a hard mask: its edge is in both, at every frequency."""
    a, b, truth = pair
    hard = (sphere(BOX, 12, 0.1) > 0.5).float()
    found = masked_fsc(a + 4, b + 4, hard)
    beyond = slice(found.first_shell + MARGIN, 22)
    assert (found.masked - truth)[beyond].mean() > 0.4
    assert found.randomised[beyond].mean() > 0.4
    assert abs(float((found.corrected - truth)[beyond].mean())) < 0.1  # what is left: power that the edge spreads over shells


def test_the_same_map_twice_agrees_at_every_shell(pair):
    found = masked_fsc(pair[0], pair[0], sphere(BOX, 14, 6))
    assert found.first_shell == BOX // 2 + 1
    assert found.corrected == pytest.approx(1.0, abs=1e-4)


@pytest.mark.skipif(shutil.which("relion_postprocess") is None, reason="needs RELION")
def test_relion_finds_the_same_curves(pair, tmp_path):
    mask = sphere(BOX, 14, 5)
    for name, volume in (("half1", pair[0]), ("half2", pair[1]), ("mask", mask)):
        write_map(tmp_path / f"{name}.mrc", volume.numpy(), 3.0)
    files = ["--i", "half1.mrc", "--i2", "half2.mrc", "--mask", "mask.mrc", "--angpix", "3.0", "--o", f"{tmp_path}/post"]
    subprocess.run(["relion_postprocess", *files], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    theirs = starfile.read(tmp_path / "post.star")["fsc"]
    ours = masked_fsc(pair[0], pair[1], mask)
    for column, curve in (
        ("FourierShellCorrelationUnmaskedMaps", ours.unmasked),
        ("FourierShellCorrelationMaskedMaps", ours.masked),
    ):
        # All but the Nyquist shell, which a half transform holds half of.
        assert theirs[f"rln{column}"].to_numpy()[1:-1] == pytest.approx(curve.numpy()[1:-1], abs=2e-2)
    # Random phases are drawn anew: alike on average.
    corrected = theirs["rlnFourierShellCorrelationCorrected"].to_numpy()
    assert abs(corrected - ours.corrected.numpy())[1:-1].mean() < 0.05
