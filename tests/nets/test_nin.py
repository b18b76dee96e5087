"""NiN's logits come out of a ReLU: none of them may be shut off by the first steps."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from striate.nets import build


@pytest.mark.full
def test_no_class_is_shut_off_by_the_first_steps():
    torch.manual_seed(0)
    net = build("nin-native")
    pictures = torch.rand(32, 1, 12, 12)
    labels = torch.arange(32) % 10
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    for _ in range(8):
        loss = F.cross_entropy(net(pictures), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        assert (net(pictures).amax(0) > 0).all()
