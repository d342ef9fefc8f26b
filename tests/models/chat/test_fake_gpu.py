"""A 4.6-size EDDM on a GPU that is not there: its language model, and the way from images and questions to logits."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakIdKeyDictionary

from models.chat.protocol import ChatRequest
from models.chat.vlm import VLM
from models.tiny.minicpmv import TinyMiniCPMVConfig, build_processor
from models.weights.shapes import architecture, build_chat_shape
from train.plan.meter import SMALL, Meter, fake_weights
from train.tiny.eddm import tiny_tokenizer

aten = torch.ops.aten


class Known(TorchDispatchMode):
    """Integers on the fake GPU keep their values: word ids and sizes, and what depends on them alone.

    The vision tower of transformers asks for sizes as it goes, for which a real GPU is waited for.
    """

    def __init__(self) -> None:
        super().__init__()
        self._values = WeakIdKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is aten._local_scalar_dense.default and args[0] in self._values:
            with _disable_current_modes():
                return self._values[args[0]].item()
        if func is aten.index.Tensor:  # how much a mask selects depends on its values
            args = (args[0], [place for index in args[1] for place in self._places(index)])
        fakes = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, FakeTensor)]
        if any(leaf not in self._values for leaf in fakes):
            return func(*args, **kwargs)
        if func is aten.unique_consecutive.default and fakes:
            real = self._run(func, args, kwargs)
            result = tree_map(lambda leaf: torch.empty(leaf.shape, dtype=leaf.dtype, device=fakes[0].device), real)
        else:
            result = func(*args, **kwargs)
            made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, FakeTensor)]
            if not made or "empty" in str(func) or any(one.is_floating_point() or one.numel() > SMALL for one in made):
                return result
            real = self._run(func, args, kwargs)
        for fake, value in zip(tree_leaves(result), tree_leaves(real), strict=True):
            if isinstance(fake, FakeTensor):
                self._values[fake] = value
        return result

    def _run(self, func: Any, args: Any, kwargs: Any) -> Any:
        args, kwargs = tree_map(self._value, (args, kwargs))
        if kwargs.get("device") is not None:
            kwargs = kwargs | {"device": torch.device("cpu")}
        with _disable_current_modes():
            return func(*args, **kwargs)

    def _value(self, leaf: Any) -> Any:
        return self._values.get(leaf, leaf) if isinstance(leaf, FakeTensor) else leaf

    def _places(self, index: Any) -> list[Any]:
        if not isinstance(index, FakeTensor) or index.dtype is not torch.bool or index not in self._values:
            return [index]
        with _disable_current_modes():
            places = self._values[index].nonzero(as_tuple=True)
        return [torch.empty(place.shape, dtype=place.dtype, device=index.device) for place in places]


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


@pytest.mark.parametrize("left", ["", "pixel_values", pytest.param("target_sizes", marks=pytest.mark.slow)])
def test_logits_from_images_and_questions(tmp_path: Path, left: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = architecture("openbmb/MiniCPM-V-4.6")
    processor: Any = build_processor(TinyMiniCPMVConfig(image_size=448, patch_size=14), tiny_tokenizer(1536))
    model = build_chat_shape(values | {"image_token_id": processor.tokenizer.image_token_id}).to(torch.bfloat16).eval()
    chat = VLM.__new__(VLM)  # its weights would have to be read
    chat.processor, chat.model = processor, SimpleNamespace(device=torch.device("cpu"))
    asked = []
    for name, shape in (("wide", (300, 700, 3)), ("square", (448, 448, 3))):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros(shape, np.uint8))
        asked.append(ChatRequest(tmp_path / f"{name}.png", "Is there a scratch?", 4))
    batch = chat.encode(asked)
    seen: list[Tensor] = []
    model.model.vision_tower.encoder.layers[-1].register_forward_hook(lambda _, __, output: seen.append(output[0]))
    chat.model = model
    with fake_weights(model, "cuda"), torch.no_grad(), Meter(), Known():
        places = {name: "cpu" if name == left else "cuda" for name in batch}
        moved = {name: value.to(places[name]) for name, value in batch.items()}
        monkeypatch.setattr(chat, "encode", lambda requests: moved)
        if left == "pixel_values":
            with pytest.raises(RuntimeError, match="device"):
                chat.predict_next(asked[:1])
            return
        (logits,) = chat.predict_next(asked[:1])
    assert logits.shape == (values["text_config"]["vocab_size"],)
    for one in [logits, *seen]:
        assert (one.dtype, one.device) == (torch.bfloat16, torch.device("cuda", 0))
