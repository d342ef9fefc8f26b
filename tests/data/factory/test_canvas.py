import numpy as np

from data.factory.canvas import box, disc, grain, make_frame, noise, polygon, wide, wrap


def test_signed_distances_are_pixels_of_coverage() -> None:
    frame = make_frame(np.random.default_rng(0), 200, shift=0.2)
    radius = 0.4
    area = frame.cover(disc(frame.u, frame.v, radius)).sum()
    assert abs(area - np.pi * (radius * frame.scale) ** 2) < 20
    square = frame.cover(box(frame.u, frame.v, 0.3, 0.2)).sum()
    assert abs(square - 0.24 * frame.scale**2) < 20
    hexagon = frame.cover(polygon(frame.u, frame.v, 6, 0.5)).sum()
    assert abs(hexagon - 2 * 3**0.5 * (0.5 * frame.scale) ** 2) < 30


def test_a_window_sees_the_same_part_as_the_whole_frame() -> None:
    frame = make_frame(np.random.default_rng(3), 128, shift=0.1)
    whole = frame.cover(disc(frame.u - np.float32(0.3), frame.v + np.float32(0.2), 0.15))
    window, near = frame.near(0.3, -0.2, 0.2)
    part = np.zeros_like(whole)
    part[window] = near.cover(disc(near.u, near.v, 0.15))
    assert np.abs(part - whole).max() < 1e-3
    _, nearer = near.near(0, 0, 0.05)
    assert np.hypot(nearer.u, nearer.v).min() < 1.5 / frame.scale


def test_light_faces_its_source() -> None:
    frame = make_frame(np.random.default_rng(0), 128, turn=0, shift=0)
    slope = frame.slope(disc(frame.u, frame.v, 0.6), 0.2, 0.0)
    assert slope[64, 98] > 0.2
    assert slope[64, 30] < -0.2
    assert abs(slope[64, 64]) < 1e-3


def test_fields() -> None:
    rng = np.random.default_rng(0)
    assert noise(rng, 64, 8).shape == (64, 64)
    assert abs(grain(rng, 256, 3.0).std() - 3) < 0.05
    field = np.linspace(-2, 2, 17, dtype=np.float32)
    assert np.allclose(wrap(field, 0.7), np.mod(field, 0.7), atol=1e-5)
    assert wide(field[None]).shape == (1, 17, 3)
