"""Which image and which random numbers come when."""

import random
from collections import Counter

import numpy as np
import torch

from runner.spec.seeds import class_image_seed, picture_seed
from runner.train.order import Batching, Order
from runner.train.streams import Draws, Stream


def test_every_epoch_shows_every_image_once_in_another_order():
    order = Order(1, Stream.INSTANCE_ORDER, 7)
    first, second = order.indices(0, 7), order.indices(7, 7)
    assert sorted(first) == sorted(second) == list(range(7))
    assert first != second


def test_an_order_is_a_function_of_the_position_alone():
    order = Order(1, Stream.CLASS_ORDER, 5)
    assert order.indices(13, 4) == order.indices(0, 40)[13:17]
    assert order.cursor(13) == (2, 3, 5)


def test_no_instance_image_is_bound_to_one_class_image():
    """With twice as many class images, `index % n` pairing would meet 2 partners only."""
    instance, classes = Order(3, Stream.INSTANCE_ORDER, 4), Order(3, Stream.CLASS_ORDER, 8)
    pairs = Counter(zip(instance.indices(0, 400), classes.indices(0, 400), strict=True))
    assert len(pairs) == 32


def test_processes_and_micro_batches_share_an_epoch_without_overlap():
    order, batching = Order(1, Stream.INSTANCE_ORDER, 12), Batching(2, 3, 2)
    seen = [
        image
        for micro in range(3)
        for rank in range(2)
        for image in order.indices(batching.first(0, micro, rank), 2)
    ]
    assert sorted(seen) == list(range(12))
    assert batching.first(1, 0, 0) == 12


def numbers(**place):
    draws = Draws(**({"seed": 1, "rank": 0, "step": 0, "micro": 0} | place))
    return draws.normal(Stream.NOISE, (4,)).tolist(), draws.integers(Stream.TIMESTEP, 1000, 4).tolist()


def test_ranks_steps_micro_steps_and_seeds_draw_differently():
    places = [{}, {"rank": 1}, {"step": 1}, {"micro": 1}, {"seed": 2}]
    noise, timesteps = zip(*[numbers(**place) for place in places], strict=True)
    assert len({tuple(one) for one in noise}) == len({tuple(one) for one in timesteps}) == len(places)
    assert numbers() == numbers()


def test_streams_do_not_share_numbers():
    draws = Draws(1, 0, 0, 0)
    assert len({tuple(draws.normal(stream, (4,)).tolist()) for stream in Stream}) == len(Stream)


def global_generators():
    """States of Python's, NumPy's and torch's generators."""
    legacy = np.random.get_state()[1].tolist()  # noqa: NPY002  # the very generator that must stand still
    return random.getstate(), legacy, torch.get_rng_state().tolist()


def test_drawing_reads_and_moves_no_global_generator():
    before = global_generators()
    first = numbers()
    assert global_generators() == before
    torch.manual_seed(7)
    assert numbers() == first


def test_timesteps_cover_the_whole_schedule():
    drawn = Draws(1, 0, 0, 0).integers(Stream.TIMESTEP, 1000, 20_000)
    assert (drawn.min(), drawn.max()) == (0, 999)


def test_pictures_have_seeds_of_their_own():
    assert len({class_image_seed(0, i) for i in range(1000)}) == 1000
    assert class_image_seed(1, 0) != class_image_seed(0, 0)
    assert picture_seed(0, "a dog", 1) != picture_seed(0, "a cat", 1)
