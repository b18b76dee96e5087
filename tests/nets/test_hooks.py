"""What is captured is what the modules gave, and neither hooks nor modes stay behind."""

import pytest
import torch
from torch import nn

from striate.nets.hooks import capture, evaluating, hooked


def net():
    """A convolution, whose output the ReLU behind it overwrites, and a norm."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True), nn.BatchNorm2d(3))


def test_every_module_gets_its_own_mode_back():
    module = net()
    module[2].eval()
    with pytest.raises(RuntimeError), evaluating(module):
        module(torch.zeros(2, 4, 5, 5))
    with evaluating(module):
        assert not any(part.training for part in module.modules())
    assert [part.training for part in module] == [True, True, False]
    assert module.training


def test_a_program_that_torch_exported_is_evaluated_too():
    program = torch.export.export(net().eval(), (torch.zeros(2, 1, 5, 5),)).module()
    with evaluating(program):
        assert program(torch.zeros(2, 1, 5, 5)).shape == (2, 3, 3, 3)


def test_what_is_captured_is_not_what_the_next_module_made_of_it():
    module, images = net().eval(), torch.randn(2, 1, 5, 5)
    with capture(module[0]) as given, capture(module[2], entering=True) as entered:
        output = module(images)
    assert torch.equal(given[0], module[0](images))
    assert (given[0] < 0).any()
    assert torch.equal(entered[0], module[0](images).relu())
    assert torch.equal(output, module(images))
    assert len(given) == len(entered) == 1  # the calls after the block are not seen


def test_calls_are_told_in_order_and_none_after_an_error():
    module, calls = net(), []
    with hooked(module.named_children(), lambda *call: calls.append(call)):
        module(torch.zeros(2, 1, 5, 5))
        with pytest.raises(RuntimeError):
            module(torch.zeros(2, 4, 5, 5))
    assert [name for name, _ in calls] == ["0", "1", "2"]
    module(torch.zeros(2, 1, 5, 5))
    assert len(calls) == 3
    with hooked([("norm", module[2])], lambda *call: None, before=lambda name, inputs: calls.append((name, inputs[0]))):
        module(torch.zeros(2, 1, 5, 5))
    assert calls[3][0] == "norm"
    assert calls[3][1].shape == (2, 3, 3, 3)
