"""SAM's embedding cache in training: what must hold, and how a model gets one."""

from __future__ import annotations

import logging

from data.errors import UserError
from data.training.grounding import AugmentConfig
from models.mdlm.embedding_cache import CacheConfig, open_cache
from models.mdlm.model import MDLM
from models.mdlm.sam_lora import SamLora

log = logging.getLogger(__name__)


def check_cacheable(*, augment: AugmentConfig | None, replay: int, lora: SamLora) -> None:
    """Refuses what would make an image's embedding another one each time it is seen.

    Args:
        augment: Augmentation of the training images; photometric, so the encoder's input changes, too.
        replay: Generic scenes per batch, which are drawn and augmented anew.
        lora: Which part of SAM learns.

    Raises:
        UserError: If there is any of it; the message names the key to set.
    """
    if augment is not None:
        raise UserError(
            "cache is set, but augment changes every image each time it is seen, so that no embedding is met twice. "
            "Set augment=null, or cache=null."
        )
    if replay:
        raise UserError(
            f"cache is set, but mix.replay={replay} draws new scenes for every batch. Set mix.replay=0, or cache=null."
        )
    if lora is SamLora.encoder:
        raise UserError(
            "cache is set, but mdlm.sam_lora=encoder changes the embeddings with every step. Set mdlm.sam_lora=decoder "
            "or none, or cache=null."
        )


def attach_cache(model: MDLM, config: CacheConfig | None, *, lora: SamLora) -> None:
    """Gives a model the configured cache; None leaves it as it is.

    Raises:
        UserError: If the image encoder learns, or the directory cannot be made.
    """
    if config is not None:
        model.use_cache(open_cache(config, model.sam, lora))
        log.info("Image embeddings are kept in %s, at most %.1f GiB.", config.path, config.gib)
