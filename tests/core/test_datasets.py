"""Data against their sources: scikit-learn's digits, the mnist1d package, small hub folders, a local web server."""

from __future__ import annotations

import hashlib
import itertools
import random
import socket
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import binom, chisquare
from sklearn.datasets import load_digits

from overparam.core import compute, datasets
from tests.conftest import refuses
from tests.hub import hub_folder

PIXELS, LABELS = load_digits(return_X_y=True)


def rows(*examples):
    """Images with their labels as a sorted list, to compare sets of examples whatever their order."""
    return sorted((*x.flatten().tolist(), y) for e in examples for x, y in zip(e.x, e.y.tolist(), strict=True))


# --- Digits -----------------------------------------------------------------------------------------------------


@given(n_train=st.integers(1, 1796), n_val=st.integers(0, 1795), seed=st.integers(0, 99))
@settings(max_examples=15)
def test_the_three_sets_are_scikit_learns_digits_with_their_labels_each_once(n_train, n_val, seed):
    assume(n_train + n_val < 1797)
    split = datasets.digits(n_train, n_val, seed=seed, center=False, scale="raw")
    assert [len(e.y) for e in (split.train, split.val, split.test)] == [n_train, n_val, 1797 - n_train - n_val]
    assert rows(split.train, split.val, split.test) == sorted(
        (*x, y) for x, y in zip(PIXELS.tolist(), LABELS.tolist(), strict=True)
    )


def test_by_default_600_digits_are_for_testing_and_none_for_validation():
    assert [len(e.y) for e in vars(datasets.digits()).values()] == [1197, 0, 600]
    assert [len(e.y) for e in vars(datasets.digits(n_val=97)).values()] == [1100, 97, 600]


def test_the_seed_decides_the_order_and_the_sizes_only_cut_it():
    whole = datasets.digits(1000, seed=3, center=False)
    again, other, cut = (
        datasets.digits(n, v, seed=s, center=False) for n, v, s in ((1000, 0, 3), (1000, 0, 4), (300, 500, 3))
    )
    assert torch.equal(whole.train.x, again.train.x)
    assert not torch.equal(whole.train.x, other.train.x)
    joined = torch.cat([cut.train.x, cut.val.x, cut.test.x])
    assert torch.equal(joined, torch.cat([whole.train.x, whole.test.x]))


@pytest.mark.parametrize("scale", ["unit", "rms", "raw"])
@pytest.mark.parametrize("center", [True, False])
def test_scale_and_centre_are_computed_on_the_training_images_alone(scale, center):
    raw = datasets.digits(500, 100, seed=1, center=False, scale="raw")
    train = raw.train.x.double().numpy()
    shift = train.mean(0) if center else 0.0
    factor = {"unit": 16, "raw": 1, "rms": np.sqrt(((train - shift) ** 2).mean())}[scale]
    split = datasets.digits(500, 100, seed=1, center=center, scale=scale)
    for name in ("train", "val", "test"):
        scaled, plain = getattr(split, name), getattr(raw, name)
        np.testing.assert_allclose(scaled.x.numpy(), (plain.x.numpy() - shift) / factor, atol=1e-5)
        assert torch.equal(scaled.y, plain.y)


def test_images_are_vectors_or_one_channel_of_8_by_8_float32_with_int64_labels():
    flat, square = (datasets.digits(10, flatten=flatten) for flatten in (True, False))
    assert flat.train.x.shape == (10, 64)
    assert square.test.x.shape == (1787, 1, 8, 8)
    assert torch.equal(square.train.x[3, 0, 2], flat.train.x[3, 16:24])  # row 2
    assert (flat.val.x.shape, square.val.x.shape) == ((0, 64), (0, 1, 8, 8))
    assert (flat.train.x.dtype, flat.train.y.dtype) == (torch.float32, torch.int64)


def test_a_whole_split_is_its_parts_one_after_the_other():
    split = datasets.digits(10, 5)
    whole = split.whole()
    for part, examples in zip((slice(10), slice(10, 15), slice(15, None)), vars(split).values(), strict=True):
        assert torch.equal(whole.x[part], examples.x)
        assert torch.equal(whole.y[part], examples.y)


def test_a_split_moves_as_a_whole():
    moved = datasets.digits(10, 5).to(torch.device("meta"))
    assert {t.device.type for e in vars(moved).values() for t in e} == {"meta"}
    assert moved.val.x.shape == (5, 64)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: datasets.digits(0), "n_train must be an integer of at least 1, got 0"),
        (lambda: datasets.digits(-3), "got -3"),
        (lambda: datasets.digits(1797), r"got 1797 \+ 0"),
        (lambda: datasets.digits(1700, 97), r"got 1700 \+ 97"),
        (lambda: datasets.digits(10.5), r"n_train must be an integer of at least 1, got 10\.5"),
        (lambda: datasets.digits(True), "n_train must be an integer of at least 1, got True"),
        (lambda: datasets.digits(n_val=-1), "n_val must be an integer of at least 0, got -1"),
        (lambda: datasets.digits(n_val=1500), "n_train must be an integer of at least 1, got -303"),
        (lambda: datasets.digits(scale="sigma"), "scale must be one of unit, rms, raw, got 'sigma'"),
    ],
)
def test_sizes_and_scales_of_digits_that_do_not_exist_are_refused(call, match):
    with refuses(ValueError, match=match):
        call()


# --- MNIST-1D ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 3])
def test_mnist1d_is_the_packages_own_data_at_seed_42_plus_ours(seed):
    import mnist1d.data

    arguments = mnist1d.data.get_dataset_args()
    arguments.num_samples, arguments.seed = 100, 42 + seed
    expected = mnist1d.data.make_dataset(arguments)
    split = datasets.mnist1d(100, seed=seed)
    np.testing.assert_array_equal(split.train.x, expected["x"].astype(np.float32))
    np.testing.assert_array_equal(split.test.x, expected["x_test"].astype(np.float32))
    np.testing.assert_array_equal(split.train.y, expected["y"])
    np.testing.assert_array_equal(split.test.y, expected["y_test"])
    assert (split.train.x.shape, split.val.x.shape, split.test.x.shape) == ((80, 40), (0, 40), (20, 40))
    assert np.bincount(torch.cat([split.train.y, split.test.y])).tolist() == [10] * 10


@pytest.mark.parametrize("fails", [False, True])
def test_mnist1d_leaves_the_global_random_states_as_they_were(monkeypatch, fails):
    import mnist1d.data

    if fails:

        def seed_and_fail(arguments):
            np.random.seed(arguments.seed)
            random.seed(arguments.seed)
            raise MemoryError

        monkeypatch.setattr(mnist1d.data, "make_dataset", seed_and_fail)
    random.seed(7)
    np.random.seed(7)
    expected = random.random(), np.random.rand()
    random.seed(7)
    np.random.seed(7)
    if fails:
        with pytest.raises(MemoryError):
            datasets.mnist1d(50)
    else:
        datasets.mnist1d(50)
    assert (random.random(), np.random.rand()) == expected


@pytest.mark.parametrize("n", [0, -10, 5, 101])
def test_mnist1d_refuses_a_number_that_ten_classes_cannot_share(n):
    with refuses(ValueError, match=f"n must be .*got {n}"):
        datasets.mnist1d(n)


@pytest.mark.parametrize(
    ("missing", "call", "extra"),
    [("mnist1d", lambda: datasets.mnist1d(50), "scaling"), ("datasets", lambda: datasets.hub_images("mnist"), "full")],
)
def test_a_missing_package_is_named_with_the_extra_that_has_it(monkeypatch, missing, call, extra):
    for name in [missing, *(name for name in sys.modules if name.startswith(f"{missing}."))]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        ImportError, match=rf"^{missing} is missing; install it with: pip install 'overparam\[{extra}\]'$"
    ):
        call()


def test_a_module_that_is_there_is_handed_on():
    assert datasets.optional("xml.dom", extra="none") is sys.modules["xml.dom"]


# --- Label noise ------------------------------------------------------------------------------------------------


def flip(labels, rate, classes, exact, seed=0):
    return datasets.flip_labels(labels, rate, classes, exact=exact, generator=compute.generator(seed))


@given(
    n=st.integers(0, 50),
    classes=st.integers(2, 5),
    rate=st.floats(0, 1),
    exact=st.booleans(),
    seed=st.integers(0, 999),
)
def test_a_moved_label_is_another_class_and_every_other_label_stays(n, classes, rate, exact, seed):
    labels = torch.randint(classes, (n,), generator=compute.generator(seed + 1))
    noisy, moved = flip(labels, rate, classes, exact, seed)
    assert torch.equal(noisy != labels, moved)
    assert noisy.dtype == labels.dtype
    assert set(noisy.tolist()) <= set(range(classes))
    if exact:
        assert moved.sum() == round(rate * n)
    assert all(map(torch.equal, (noisy, moved), flip(labels, rate, classes, exact, seed)))


def test_independent_noise_moves_a_binomial_number_and_exact_noise_always_the_same():
    labels = torch.zeros(20, dtype=torch.int64)
    counts = {
        exact: [int(flip(labels, 0.3, 4, exact, seed)[1].sum()) for seed in range(2000)] for exact in (True, False)
    }
    assert set(counts[True]) == {6}
    observed = np.bincount(counts[False], minlength=21)
    expected = binom(20, 0.3).pmf(range(21)) * 2000
    tail = expected < 5
    merged = [np.append(z[~tail], z[tail].sum()) for z in (observed, expected)]
    assert chisquare(*merged).pvalue > 1e-3


@pytest.mark.parametrize("exact", [True, False])
def test_labels_move_to_every_other_class_alike_and_from_everywhere(exact):
    labels = torch.arange(40_000) % 4
    noisy, moved = flip(labels, 0.5, 4, exact)
    table = np.zeros((4, 4))
    np.add.at(table, (labels[moved], noisy[moved]), 1)
    assert np.diag(table).tolist() == [0] * 4
    assert chisquare(table[~np.eye(4, dtype=bool)]).pvalue > 1e-3
    assert chisquare(np.add.reduceat(moved.numpy(), range(0, 40_000, 4000))).pvalue > 1e-3


@pytest.mark.parametrize(
    ("labels", "rate", "classes", "match"),
    [
        ([0, 1], -0.1, 2, r"rate must lie in \[0, 1\], got -0.1"),
        ([0, 1], 1.1, 2, "got 1.1"),
        ([0, 1], float("nan"), 2, "got nan"),
        ([0, 0], 0.5, 1, "num_classes must be an integer of at least 2, got 1"),
        ([0, 2], 0.5, 2, r"labels must lie in 0\.\.1, got 0\.\.2"),
        ([-1, 1], 0.5, 2, r"labels must lie in 0\.\.1, got -1\.\.1"),
    ],
)
@pytest.mark.parametrize("exact", [True, False])
def test_label_noise_refuses_what_is_no_rate_or_no_class(labels, rate, classes, match, exact):
    with refuses(ValueError, match=match):
        flip(torch.tensor(labels), rate, classes, exact)


# --- Augmentation -----------------------------------------------------------------------------------------------


def test_crops_are_all_windows_of_the_padded_image_and_their_mirror_images_alike_often():
    padded = torch.rand(3, 7, 8, generator=compute.generator(0))
    windows = {
        (window.flip(2) if mirrored else window).numpy().tobytes(): (mirrored, dy, dx)
        for mirrored, dy, dx in itertools.product((False, True), range(5), range(5))
        for window in [padded[:, dy : dy + 3, dx : dx + 4]]
    }
    many = datasets.crop_and_mirror(padded.expand(2, 1000, 3, 7, 8), 2, generator=compute.generator(1))
    assert many.shape == (2, 1000, 3, 3, 4)
    seen = [windows[crop.contiguous().numpy().tobytes()] for crop in many.flatten(0, 1)]
    assert len(set(seen)) == 50
    assert chisquare([seen.count(window) for window in windows.values()]).pvalue > 1e-3


@pytest.mark.parametrize(("border", "match"), [(-1, "border must be .*got -1"), (4, r"\(7, 8\), got 4")])
def test_a_border_that_leaves_no_image_is_refused(border, match):
    with refuses(ValueError, match=match):
        datasets.crop_and_mirror(torch.zeros(1, 3, 7, 8), border, generator=compute.generator(0))


# --- Low-rank matrices ------------------------------------------------------------------------------------------


@given(
    n1=st.integers(1, 7),
    n2=st.integers(1, 7),
    values=st.lists(st.floats(0.1, 10), min_size=1, max_size=7),
    psd=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_low_rank_matrix_has_the_singular_values_asked_for_and_no_others(n1, n2, values, psd, seed):
    n2 = n1 if psd else n2
    assume(len(values) <= min(n1, n2))
    M = datasets.random_low_rank(n1, n2, values, psd=psd, generator=compute.generator(seed)).numpy()
    assert M.shape == (n1, n2)
    padded = sorted(values, reverse=True) + [0.0] * (min(n1, n2) - len(values))
    np.testing.assert_allclose(np.linalg.svd(M, compute_uv=False), padded, atol=1e-12 * max(values))
    if psd:
        np.testing.assert_allclose(M, M.T, atol=1e-12 * max(values))
        assert np.linalg.eigvalsh(M).min() > -1e-12 * max(values)


def test_orthonormal_columns_are_uniform_on_the_sphere():
    # Of a uniform unit vector in three dimensions every coordinate is uniform in [-1, 1] (Archimedes).
    generator = compute.generator(0)
    columns = torch.stack([datasets.random_orthonormal(3, 2, generator=generator) for _ in range(3000)])
    torch.testing.assert_close(columns.mT @ columns, torch.eye(2, dtype=columns.dtype).expand(3000, 2, 2))
    for coordinate in columns.flatten(1).T.numpy():
        assert chisquare(np.histogram(coordinate, bins=10, range=(-1, 1))[0]).pvalue > 1e-4


def test_the_dtype_is_the_one_asked_for():
    assert datasets.random_low_rank(3, 2, [1.0], dtype=torch.float32).dtype == torch.float32
    assert datasets.random_orthonormal(3, 2).dtype == torch.float64


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: datasets.random_low_rank(0, 3, [1.0]), "n1 must be an integer of at least 1, got 0"),
        (lambda: datasets.random_low_rank(3, 2, [1.0] * 3), r"1\.\.2 for a 3 x 2 matrix, got 3"),
        (lambda: datasets.random_low_rank(3, 2, []), r"1\.\.2 .*got 0"),
        (lambda: datasets.random_low_rank(3, 2, [1.0, 0.0]), "singular_value must be positive and finite, got 0.0"),
        (lambda: datasets.random_low_rank(3, 2, [1.0], psd=True), "square, got 3 x 2"),
        (lambda: datasets.random_orthonormal(2, 3), r"1\.\.2 .*got 3"),
        (lambda: datasets.random_orthonormal(2, 0), r"1\.\.2 .*got 0"),
    ],
)
def test_matrices_that_do_not_exist_are_refused(call, match):
    with refuses(ValueError, match=match):
        call()


# --- Full scale, without a network ------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache folder of the test's own, and no way to another machine."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets, "cache_directory", lambda: tmp_path / "cache" / "overparam")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    connect = socket.socket.connect

    def only_here(self, address):
        assert address[0] == "127.0.0.1", f"the test tried to reach {address}"
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", only_here)
    return tmp_path / "cache"


@pytest.mark.parametrize(("name", "shape"), [("cifar10", (32, 32, 3)), ("cifar100", (32, 32, 3)), ("mnist", (28, 28))])
def test_hub_images_are_the_files_pixels_normalized_by_the_training_images(cache, tmp_path, name, shape):
    source, content = hub_folder(tmp_path / "hub", name, shape)
    split = datasets.hub_images(name, n_val=2, seed=1, source=source)
    assert [len(e.y) for e in vars(split).values()] == [4, 2, 3]
    pixels = {part: x.reshape(*x.shape[:3], -1).transpose(0, 3, 1, 2) / 255 for part, (x, _) in content.items()}
    files = {"train": "train", "val": "train", "test": "test"}
    # Which file's image each one is: normalizing kept its correlation with that one.
    which = {
        part: [int(np.argmax([np.corrcoef(x.flatten(), z.flatten())[0, 1] for z in pixels[file]])) for x in examples.x]
        for (part, file), examples in zip(files.items(), vars(split).values(), strict=True)
    }
    assert sorted(which["train"] + which["val"]) == [0, 1, 2, 3, 4, 5]
    assert which["test"] == [0, 1, 2]
    mean, std = (getattr(pixels["train"][which["train"]], s)((0, 2, 3), keepdims=True) for s in ("mean", "std"))
    for part, file in files.items():
        examples = getattr(split, part)
        np.testing.assert_allclose(examples.x, (pixels[file][which[part]] - mean) / std, atol=1e-3)
        assert examples.y.tolist() == content[file][1][which[part]].tolist()
        assert (examples.x.dtype, examples.y.dtype) == (torch.float32, torch.int64)


def test_hub_images_split_by_seed_and_are_kept_in_the_overparam_cache(cache, tmp_path):
    source, _ = hub_folder(tmp_path / "hub", "mnist", (28, 28))
    one, again, other = (datasets.hub_images("mnist", n_val=3, seed=seed, source=str(source)) for seed in (0, 0, 1))
    assert torch.equal(one.val.x, again.val.x)
    assert not torch.equal(one.val.x, other.val.x)
    assert {path.name for path in cache.iterdir()} == {"overparam"}
    assert list((cache / "overparam" / "hub").rglob("*.arrow"))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"name": "imagenet"}, "name must be one of cifar10, cifar100, mnist, got 'imagenet'"),
        ({"n_val": -1}, "n_val must be an integer of at least 0, got -1"),
        ({"n_val": 6}, "n_val must be below the 6 training images, got 6"),
    ],
)
def test_hub_images_refuse_what_they_cannot_give(cache, tmp_path, arguments, match):
    source, _ = hub_folder(tmp_path / "hub", "mnist", (28, 28))
    with refuses(ValueError, match=match):
        datasets.hub_images(**{"name": "mnist", "source": source, **arguments})


@pytest.fixture
def server(tmp_path):
    """A web server of one folder on this machine: its address, the folder, and what was asked for."""
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    (tmp_path / "www").mkdir()
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path / "www")))
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}", tmp_path / "www", asked
    http.shutdown()
    thread.join()
    http.server_close()


def test_a_file_is_fetched_once_checked_and_kept_in_the_overparam_cache(cache, server):
    address, folder, asked = server
    (folder / "data.bin").write_bytes(b"numbers")
    checksum = f"sha256:{hashlib.sha256(b'numbers').hexdigest()}"
    paths = [datasets.fetch(f"{address}/data.bin", checksum) for _ in range(2)]
    assert paths[0] == paths[1]
    assert paths[0].read_bytes() == b"numbers"
    assert paths[0].is_relative_to(cache / "overparam" / "files")
    assert asked == ["/data.bin"]


def test_a_file_that_is_not_what_it_should_be_is_refused_and_not_kept(cache, server):
    address, folder, _ = server
    (folder / "data.bin").write_bytes(b"something else")
    with pytest.raises(ValueError, match="hash"):
        datasets.fetch(f"{address}/data.bin", f"sha256:{hashlib.sha256(b'numbers').hexdigest()}")
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_the_cache_is_the_users():
    home = datasets.cache_directory()
    assert home.name == "overparam"
    assert home.is_absolute()
    assert Path.cwd() not in home.parents
