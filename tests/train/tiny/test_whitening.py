import numpy as np
import torch

from data.tiny.scenes import make_scene
from models.tiny.batched_vision import patchify
from models.tiny.minicpmv import TinyMiniCPMVConfig, build_model
from train.tiny.eddm import tiny_tokenizer
from train.tiny.whitening import GAIN, whiten_patches


def test_patches_leave_the_embedding_decorrelated_and_alike_in_size() -> None:
    model = build_model(TinyMiniCPMVConfig(), tiny_tokenizer(1536))
    whiten_patches(model, image_size=96, patch_size=8, seed=0)
    embedding = model.model.vision_tower.embeddings.patch_embedding
    images = np.stack([make_scene(np.random.default_rng((9, i)), 96).image for i in range(60)])
    strip = patchify(torch.from_numpy(images), patch_size=8)[0]
    patches = strip.unflatten(-1, (-1, 8)).permute(2, 0, 1, 3)
    embedded = embedding(patches).flatten(1).detach()
    strong = embedded[:, -40:]  # the leading components, above the floor
    covariance = torch.cov(strong.T) / GAIN**2
    assert 0.5 < float(covariance.diagonal().median()) < 1.6
    off = covariance - torch.diag(covariance.diagonal())
    assert float(off.abs().mean()) < 0.1
