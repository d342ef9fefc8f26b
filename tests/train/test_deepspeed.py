"""DeepSpeed's own parser accepts what is composed, ZeRO-3 included, which cannot run without a GPU."""

import pytest

from train.deepspeed import deepspeed_config


@pytest.mark.parametrize("stage", [2, 3])
@pytest.mark.parametrize("autocast", [None, "bfloat16"])
def test_deepspeed_accepts_the_composed_config(
    stage: int, autocast: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deepspeed import comm
    from deepspeed.runtime import config as runtime

    monkeypatch.setattr(comm, "get_world_size", lambda *args, **more: 4)
    monkeypatch.setattr(comm, "get_rank", lambda *args, **more: 0)
    composed = deepspeed_config(stage, per_rank=2, ranks=4, clip=0.5, autocast=autocast)
    parsed = runtime.DeepSpeedConfig(composed)
    assert (parsed.train_batch_size, parsed.train_micro_batch_size_per_gpu) == (8, 2)
    assert (int(parsed.zero_config.stage), parsed.gradient_clipping) == (stage, 0.5)
    assert parsed.torch_autocast_enabled is (autocast is not None)
    assert parsed.zero_allow_untested_optimizer
