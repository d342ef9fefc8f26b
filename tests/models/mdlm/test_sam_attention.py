import pytest
import torch
from segment_anything.modeling.image_encoder import Attention

from models.mdlm.sam_attention import FusedAttention


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("size", [(4, 4), (3, 6)])
def test_equals_the_stock_layer_and_its_gradients(size: tuple[int, int], relative: bool) -> None:
    torch.manual_seed(0)
    stock = Attention(24, 3, use_rel_pos=relative, input_size=size)
    for name, parameter in stock.named_parameters():
        if name.startswith("rel_pos"):
            torch.nn.init.normal_(parameter)
    fused = FusedAttention(stock)
    assert fused.state_dict().keys() == stock.state_dict().keys()
    cells = torch.randn(2, *size, 24)
    grads = []
    for layer in (stock, fused):
        stock.zero_grad()
        own = cells.clone().requires_grad_()
        out = layer(own)
        out.square().sum().backward()
        grads.append([out, own.grad, *(p.grad.clone() for p in stock.parameters() if p.grad is not None)])
    assert len(grads[0]) == len(grads[1])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)


def test_another_grid_is_refused() -> None:
    fused = FusedAttention(Attention(24, 3, use_rel_pos=True, input_size=(4, 4)))
    with pytest.raises(ValueError, match="do not fit a side of 5"):
        fused(torch.zeros(1, 5, 4, 24))
