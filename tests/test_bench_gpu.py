"""The measurements of a GPU, on the CPU and small: what they time runs, and their sums are right."""

import pytest
import torch

from bench import gpu

TINY = gpu.Scene("resnet18", "resnet18", 32, 2, torch.device("cpu"))
OUR_STEP = gpu.our_step


@pytest.mark.full
def test_steps_of_both_loops_are_timed(monkeypatch):
    monkeypatch.setattr(gpu, "a_call", lambda device, what, repeats=1: (what(), 0.25)[1])
    monkeypatch.setattr(gpu, "EXECUTIONS", {"nchw": gpu.Execution(1, "nchw")})
    monkeypatch.setattr(gpu, "our_step", lambda scene, manner, look=0.01: OUR_STEP(scene, manner, look))
    plain, ours = gpu.steps(TINY, side=16)
    assert plain["pictures_per_second"] == 8
    # ResNet-18's 1.814 billion MACs at 224 (He et al. 2015, Table 1: 1.8) are at 32 those of maps of 1/49, and the last layer's.
    macs = (1_814_073_344 - 512_000) / 49 + 512_000
    assert plain["share_of_peak"] == pytest.approx(3 * 2 * macs * 2 / (2 * 16**3), rel=1e-3)
    assert ours["step_ms"] > 0


def test_without_a_gpu_nothing_is_measured(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gpu.main()
    assert "nothing was measured" in capsys.readouterr().out
