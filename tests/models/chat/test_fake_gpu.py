"""A 4.6-size EDDM on a GPU that is not there: its language model. Its vision tower asks the GPU for sizes by itself."""

import pytest
import torch

from models.weights.shapes import architecture, build_chat_shape
from train.plan.meter import Meter, fake_weights


def test_logits_of_the_native_successor() -> None:
    values = architecture("openbmb/MiniCPM-V-4.6")
    model = build_chat_shape(values).to(torch.bfloat16).eval()
    with fake_weights(model, "cuda"), torch.no_grad(), Meter():
        ids = torch.zeros(2, 100, dtype=torch.long, device="cuda")
        output = model(inputs_embeds=model.get_input_embeddings()(ids), use_cache=True)
        with pytest.raises(RuntimeError, match="device"):
            model(inputs_embeds=torch.zeros(2, 100, 1024, dtype=torch.bfloat16), use_cache=False)
    assert output.logits.shape == (2, 100, values["text_config"]["vocab_size"])
    assert output.logits.dtype is torch.bfloat16
    assert output.logits.device == torch.device("cuda", 0)
    for layer in output.past_key_values.layers:
        states = [layer.keys] if hasattr(layer, "keys") and layer.keys is not None else layer.recurrent_states
        assert all(state.device.type == "cuda" for state in states if isinstance(state, torch.Tensor))
