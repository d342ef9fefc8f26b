import torch

from models.mdlm.dam import DefectAnalysisModule


def inputs() -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    mask = torch.tensor([[True, True, False, False], [True, True, True, True]])
    return torch.randn(2, 8, 3, 3), torch.randn(1, 8, 3, 3), torch.randn(2, 4, 12), mask


def test_starts_as_the_identity_but_its_gate_learns() -> None:
    dam = DefectAnalysisModule(text_width=12, channels=8, heads=2)
    visual, positions, text, mask = inputs()
    out = dam(visual, positions, text, mask)
    assert torch.equal(out, visual)
    (out * torch.randn_like(out)).sum().backward()
    assert dam.gate.grad is not None and dam.gate.grad.abs().min() > 0


def test_text_changes_the_features_and_masked_tokens_do_not() -> None:
    dam = DefectAnalysisModule(text_width=12, channels=8, heads=2)
    torch.nn.init.ones_(dam.gate)
    visual, positions, text, mask = inputs()
    out = dam(visual, positions, text, mask)
    hidden = text.clone()
    hidden[0, 2:] += 5
    assert torch.allclose(dam(visual, positions, hidden, mask), out, atol=1e-6)
    seen = text.clone()
    seen[0, 0] = -seen[0, 0]
    changed = dam(visual, positions, seen, mask)
    assert not torch.allclose(changed[0], out[0], atol=1e-4)
    assert torch.allclose(changed[1], out[1], atol=1e-6)
