"""HDF5 and Zarr that lead to other files of the machine: refused, with the name of the other file."""

from __future__ import annotations

import os

import h5py
import numpy as np
import pytest
import zarr

import rnnkit as rk

VALUES = np.arange(20.0)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    VALUES.tofile("secret.bin")
    with h5py.File("other.h5", "w") as file:
        file["x"] = VALUES
    return tmp_path


def virtual(file, name, source):
    layout = h5py.VirtualLayout((20,), "f8")
    layout[:] = h5py.VirtualSource(source, "x", (20,))
    file.create_virtual_dataset(name, layout)


@pytest.mark.parametrize(
    ("make", "array", "said"),
    [
        (lambda f: f.create_dataset("a", (20,), "f8", external=[("secret.bin", 0, 160)]), None, "'secret.bin'"),
        (lambda f: f.create_dataset("g/a", (20,), "f8", external=[("secret.bin", 0, 160)]), "g", "'secret.bin'"),
        (lambda f: virtual(f, "a", "other.h5"), None, "'other.h5'"),
        (lambda f: f.update(a=h5py.ExternalLink("other.h5", "x")), "a", "is a link to another file, 'other.h5'"),
        (lambda f: f.update(a=h5py.ExternalLink("other.h5", "/")), "a/x", "is a link to another file, 'other.h5'"),
    ],
)
def test_hdf5_that_leads_to_another_file_is_refused(home, make, array, said):
    with h5py.File("a.h5", "w") as file:
        make(file)
    with pytest.raises(rk.SourceError, match=said):
        rk.Sequence.open("a.h5", array=array)


def test_a_virtual_array_over_one_that_stands_elsewhere_is_refused(home):
    with h5py.File("a.h5", "w") as file:
        file.create_dataset("x", (20,), "f8", external=[("secret.bin", 0, 160)])
        virtual(file, "v", ".")
        virtual(file, "w/v", ".")
    for array in ("v", "w"):
        with pytest.raises(rk.SourceError, match=r"has its numbers in another file, 'secret.bin'"):
            rk.Sequence.open("a.h5", array=array)


def test_what_stands_in_the_file_itself_is_read(home):
    with h5py.File("a.h5", "w") as file:
        file["x"] = VALUES
        virtual(file, "v", ".")
        file.create_dataset("elsewhere", (20,), "f8", external=[("secret.bin", 0, 160)])  # nobody asks for it
    for array in ("x", "v"):
        series = rk.Sequence.open("a.h5", array=array)
        assert series.take(np.arange(5))[0].ravel().tolist() == VALUES[:5].tolist()


def test_zarr_whose_links_lead_out_of_its_folder_is_refused(home):
    zarr.open_array("a.zarr", mode="w", shape=(20,), chunks=(10,), dtype="f8")[:] = VALUES
    (home / "link.zarr").symlink_to("a.zarr")
    assert len(rk.Sequence.open("link.zarr")) == 19  # its path may be one
    chunk = next(path for path in (home / "a.zarr").rglob("*") if path.is_file() and path.suffix != ".json")
    chunk.rename("chunk")
    os.symlink(home / "chunk", chunk)
    with pytest.raises(rk.SourceError, match=r"'a.zarr' has a link out of its folder, .* put the file itself there"):
        rk.Sequence.open("a.zarr")
    chunk.unlink()
    (home / "chunk").rename(chunk)
    assert len(rk.Sequence.open("a.zarr")) == 19
