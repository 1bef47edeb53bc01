"""Your own pictures and arrays: what is found in a folder or a file, how it is prepared, and what a user is told."""

import io
import json
import os
import subprocess
import sys
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import gan_jax.data.cache
from experiments import vanilla
from gan_jax import data
from gan_jax.data import contents, folder, prepared, sets, tokens
from gan_jax.errors import UserError
from gan_jax.run import cli

KEY = jax.random.key(0)
DRAW = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of each test's own, with nothing loaded before."""
    monkeypatch.setattr(gan_jax.data.cache, "FOLDER", tmp_path / "cache")
    data.load.cache_clear()
    yield tmp_path / "cache"
    data.load.cache_clear()


def picture(file, a=None, **how):
    """Write a picture, [h, w] or [h, w, c], of random numbers where none are given, and return its array."""
    a = DRAW.integers(0, 256, (8, 8, 3), np.uint8) if a is None else np.asarray(a, np.uint8)
    os.makedirs(os.path.dirname(file), exist_ok=True)
    with open(file, "wb") as opened:  # Pillow takes no undecodable names
        form = how.pop("format", None) or Image.registered_extensions().get(
            os.path.splitext(str(file))[1].lower(), "PNG"
        )
        Image.fromarray(a).save(opened, form, **how)
    return a


def told(name, **choices):
    """Return the lines that loading a set ends in."""
    with pytest.raises(UserError) as error:
        data.load(data.settled(str(name), **choices))
    lines = str(error.value).splitlines()
    assert len(lines) <= 2
    return lines


def whole(source):
    return data.resident(source)


def filed(source):
    """Return the records in the order of their files, in which those with labels don't stand."""
    back = np.argsort(np.random.default_rng(0).permutation(source.n))
    return {name: a[back] for name, a in whole(source).items()}


# What is in a folder


def test_a_folder_a_class(tmp_path):
    """Labels are the folders in order, those that are numbers as such; their names are kept, and the pictures too."""
    of = {name: picture(tmp_path / "x" / name / "a.png") for name in ("10", "9", "1")}
    source = data.load(str(tmp_path / "x"))
    assert source.name == "x" and source.n == 3 and source.fields["y"].names == ("1", "9", "10")
    for x, y in zip(*whole(source).values(), strict=True):
        np.testing.assert_array_equal(x, of[source.fields["y"].names[y]])
    for name in of:
        os.rename(tmp_path / "x" / name, tmp_path / "x" / f"n{name}")
    data.load.cache_clear()
    assert data.load(str(tmp_path / "x")).fields["y"].names == ("n1", "n10", "n9")


def test_the_first_records_are_of_every_class(tmp_path):
    """Files stand class by class, and what measures the first few hundred of a split would see a class or two."""
    for i in range(60):
        picture(tmp_path / "x" / "abc"[i // 20] / f"{i:02}.png", np.full((4, 4), 4 * i))
    source = data.load(str(tmp_path / "x"))
    y, level = whole(source)["y"], whole(source)["x"][:, 0, 0, 0] // 4
    assert len(set(y[:12].tolist())) == 3 and sorted(level.tolist()) == list(range(60))
    np.testing.assert_array_equal(y, level // 20)  # each keeps its own
    np.testing.assert_array_equal(source.read(np.array([7, 3]))["x"], whole(source)["x"][[7, 3]])
    x = np.repeat(np.arange(6, dtype=np.uint8), 10).reshape(60, 1, 1) * np.ones((1, 4, 4), np.uint8)
    source = data.load(saved(tmp_path, x=x, y=np.repeat(np.arange(6), 10)))
    raw = whole(source)
    assert len(set(raw["y"][:15].tolist())) > 4
    np.testing.assert_array_equal(raw["x"][:, 0, 0, 0], raw["y"])


def test_a_flat_folder_has_no_labels(tmp_path):
    """In the order of their names; nor do folders that all pictures are in make any."""
    a = [picture(tmp_path / "x" / "y" / "z" / f"{i}.png") for i in range(3)]
    for path in (tmp_path / "x", tmp_path / "x" / "y" / "z"):
        source = data.load(str(path))
        assert set(source.fields) == {"x"} and source.classes == 0 and source.test is None
        np.testing.assert_array_equal(whole(source)["x"], a)


def test_pictures_beside_class_folders_leave_no_labels(tmp_path):
    """Some pictures in folders and some not: none has a label, and that is said."""
    for name in ("a/1.png", "b/2.png", "3.png"):
        picture(tmp_path / "x" / name)
    source = data.load(str(tmp_path / "x"))
    assert source.classes == 0 and "no labels: 1 picture in no folder of a class, though others are" in source.says


def test_nested_folders_and_folders_without_pictures(tmp_path):
    """The first folder is the class; one without pictures is named and is none."""
    for name in ("a/p/1.png", "a/q/2.png", "b/3.png"):
        picture(tmp_path / "x" / name)
    (tmp_path / "x" / "c").mkdir()
    source = data.load(str(tmp_path / "x"))
    assert source.fields["y"].names == ("a", "b") and filed(source)["y"].tolist() == [0, 0, 1]
    assert source.says.splitlines()[0] == "x: 3 pictures in 2 classes, 8x8x3; no test split"
    assert "folders without pictures: c" in source.says


@pytest.mark.parametrize("held, said", [("test", 2), ("val", 2), ("Validation", 2), ("other", None)])
def test_train_and_test_are_splits(tmp_path, held, said):
    """train/ beside test/ or val/ is a split; labels are the folders within both, by name, in either split."""
    for name in ("train/a/1.png", "train/b/2.png", f"{held}/b/3.png", f"{held}/b/4.png"):
        picture(tmp_path / "x" / name)
    source = data.load(str(tmp_path / "x"))
    if said is None:
        assert source.n == 4 and source.test is None and source.fields["y"].names == ("other", "train")
        return
    assert source.n == 2 and source.test.n == said and source.fields["y"].names == ("a", "b")
    assert whole(source.test)["y"].tolist() == [1, 1] and source.test.fields == source.fields


def test_what_is_no_picture_is_left_out(tmp_path):
    """Hidden files, what systems leave behind, and by their endings all else, counted; endings in any case."""
    picture(tmp_path / "x" / "A.PNG")
    picture(tmp_path / "x" / "b.JPeG")
    for name in (".hidden.png", "Thumbs.db", "desktop.ini", "__MACOSX/c.png", ".git/d.png", "notes.TXT", "e.heic"):
        (tmp_path / "x" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "x" / name).write_text("no picture")
    source = data.load(str(tmp_path / "x"))
    assert source.n == 2 and "no pictures by their endings: 1 .heic, 1 .txt: left out" in source.says


ODD = [
    "a b.png",
    "[a].png",
    "[b].png",
    "ä ☃ 猫.png",
    "line\nbreak.png",
    "\udcff\udcfe.png",
    "a,size=3.png",
    "-f.png",
    "a'\".png",
]


def test_odd_names(tmp_path):
    """Blanks, brackets, any letter, a newline, bytes that are no text: of a picture, of a class, of the folder."""
    root = tmp_path / "x,y=1 [\udcff]"
    of = {name: [picture(root / name / f"{i}{name}") for i in range(2)] for name in ODD}
    source = data.load(data.settled(str(root), size="8"))
    names = source.fields["y"].names
    assert source.n == 2 * len(ODD) and len(names) == len(set(names)) == len(ODD)
    assert all(name.isprintable() for name in (*names, source.name))
    x = whole(source)
    found = {tuple(sorted(a.tobytes() for a in x["x"][x["y"] == y])) for y in range(len(ODD))}
    assert found == {tuple(sorted(a.tobytes() for a in both)) for both in of.values()}
    assert source.says == f"{source.name}: 18 pictures in 9 classes, 8x8x3; no test split"


def test_links(tmp_path):
    """A link to a folder above ends nothing, one to elsewhere is followed, one to nothing is a file that can't be read."""
    picture(tmp_path / "elsewhere" / "a.png")
    picture(tmp_path / "x" / "b" / "b.png")
    (tmp_path / "x" / "b" / "loop").symlink_to(tmp_path / "x")
    (tmp_path / "x" / "b" / "self").symlink_to(tmp_path / "x" / "b" / "self")
    (tmp_path / "x" / "a").symlink_to(tmp_path / "elsewhere")
    source = data.load(str(tmp_path / "x"))
    assert source.n == 2 and source.fields["y"].names == ("a", "b")
    (tmp_path / "x" / "b" / "gone.png").symlink_to(tmp_path / "gone")
    os.mkfifo(tmp_path / "x" / "b" / "pipe.png")  # to open it would wait for ever
    data.load.cache_clear()
    assert "2 can't be read: b/gone.png (is not a file), b/pipe.png (is not a file)" in told(tmp_path / "x")[0]
    assert data.load(data.settled(str(tmp_path / "x"), skip_bad="yes")).n == 2


@pytest.mark.parametrize("what", ["nothing", "a text", "an empty folder"])
def test_a_folder_without_pictures(tmp_path, what):
    """Says so, and which pictures are read."""
    (tmp_path / "x").mkdir()
    if what == "a text":
        (tmp_path / "x" / "a.txt").write_text("")
    if what == "an empty folder":
        (tmp_path / "x" / "a").mkdir()
    (line,) = told(tmp_path / "x")
    assert line == f"there is no data set in {tmp_path}/x: it holds no picture (PNG, JPEG, WebP, BMP, GIF or TIFF)."


def test_a_picture_is_no_folder_and_no_array_of_several(tmp_path):
    """One file of pixels was taken for an array that can't be read, and [h, w, 3] for h pictures of three columns."""
    picture(tmp_path / "x" / "a.png")
    assert told(tmp_path / "x" / "a.png") == [f"{tmp_path}/x/a.png is a picture: name the folder that it is in."]
    (line,) = told(saved(tmp_path, U8[0]))
    assert line.endswith("x is [8, 6, 3], one picture as it seems; pictures in colours are [n, h, w, c].")


def test_few_pictures(tmp_path):
    """One picture can be trained on, one a batch; a larger batch is refused with both numbers."""
    picture(tmp_path / "x" / "a.png")
    source = data.load(str(tmp_path / "x"))
    data.check_batch(source, 1)
    assert data.some(source, 5)["x"].shape == (1, 8, 8, 3)
    with pytest.raises(UserError, match=r"^x: a batch of 2 is more than the 1 record that there is:"):
        data.check_batch(source, 2)


# metadata.jsonl


def lines(root, *told):
    (root / "metadata.jsonl").write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in told))


def captions(source):
    """Return the captions of all records as texts, again."""
    return [tokens.text(row, source.fields["caption"].names) for row in whole(source)["caption"]]


def test_metadata_says_labels_and_captions(tmp_path):
    """By file name; what it does not name is left out, and blank lines, a BOM and other keys do no harm."""
    a, b, _ = (picture(tmp_path / "x" / name) for name in ("p/a.png", "b.png", "c.png"))
    say = [
        {"file_name": "b.png", "text": "a cät", "label": "cat"},
        {"file_name": "./p/a.png", "caption": "dog", "label": "dog"},
    ]
    (tmp_path / "x" / "metadata.jsonl").write_bytes(
        b"\xef\xbb\xbf" + b"\n\n".join(json.dumps(one | {"z": 1}).encode() for one in say)
    )
    source = data.load(str(tmp_path / "x"))
    np.testing.assert_array_equal(whole(source)["x"], [b, a])
    assert whole(source)["y"].tolist() == [0, 1] and source.fields["y"].names == ("cat", "dog")
    assert captions(source) == ["a cät", "dog"]
    assert "does not name 1 picture: left out" in source.says


def test_metadata_in_splits_and_labels_that_are_numbers(tmp_path):
    """One in each of train/ and test/ names its own pictures; labels 3 and 10 are classes 0 and 1, called 3 and 10."""
    for split, label in (("train", 10), ("train", 3), ("test", 10)):
        picture(tmp_path / "x" / split / f"{label}.png")
    lines(tmp_path / "x" / "train", *({"file_name": f"{i}.png", "label": i} for i in (10, 3)))
    lines(tmp_path / "x" / "test", {"file_name": "10.png", "label": 10})
    source = data.load(str(tmp_path / "x"))
    assert source.fields["y"].names == ("3", "10") and source.n == 2 and source.test.n == 1
    assert whole(source)["y"].tolist() == [1, 0] and whole(source.test)["y"].tolist() == [1]


def test_captions_without_labels_leave_the_labels_of_folders(tmp_path):
    """metadata.jsonl says captions alone: classes are the folders."""
    for name in ("a/1.png", "b/2.png"):
        picture(tmp_path / "x" / name)
    lines(tmp_path / "x", *({"file_name": name, "text": name} for name in ("b/2.png", "a/1.png")))
    source = data.load(str(tmp_path / "x"))
    assert source.fields["y"].names == ("a", "b") and captions(source) == ["a/1.png", "b/2.png"]


def test_captions_are_tokens_of_the_training_split(tmp_path):
    """Words by default where texts have blanks, cut to the length asked for; what train does not say is unknown."""
    say = {"train/1.png": "a red cat", "train/2.png": "a dog", "test/3.png": "a blue cat"}
    for name in say:
        picture(tmp_path / "x" / name)
    lines(tmp_path / "x", *({"file_name": name, "text": text} for name, text in say.items()))
    source = data.load(str(tmp_path / "x"))
    field = source.fields["caption"]
    assert field.kind == "tokens" and field.shape == (4,) and field.names[3:] == ("a", "cat", "dog", "red")
    assert captions(source) == ["a red cat", "a dog"] and captions(source.test) == ["a <unk> cat"]
    assert "x: 2 pictures with captions (4 of 7 words), 8x8x3; test split of 1" in source.says
    other = data.load(data.settled(str(tmp_path / "x"), level="char", length="5"))
    assert captions(other) == ["a red", "a dog"] and other.content == source.content


def test_metadata_pairs_pictures(tmp_path):
    """Each record's pictures stay together, in every split; those that are named as others are no records."""
    some = {f"{split}/{side}{i}.png": None for split in ("train", "test") for side in "ab" for i in range(3)}
    some = {name: picture(tmp_path / "x" / name, DRAW.integers(0, 256, (8, 8, 3))) for name in some}
    for split in ("train", "test"):
        pairs = [{"file_name": f"b{i}.png", "source_file_name": f"a{2 - i}.png"} for i in range(3)]
        lines(tmp_path / "x" / split, *pairs)
    source = data.load(str(tmp_path / "x"))
    assert (source.n, source.test.n) == (3, 3) and source.fields["source"].shape == source.shape == (8, 8, 3)
    assert "x: 3 pictures with source beside them, 8x8x3; test split of 3" in source.says and "\n" not in source.says
    for split, of in (("train", source), ("test", source.test)):
        for raw in (whole(of), of.read(np.arange(3))):
            np.testing.assert_array_equal(raw["x"], [some[f"{split}/b{i}.png"] for i in range(3)])
            np.testing.assert_array_equal(raw["source"], [some[f"{split}/a{2 - i}.png"] for i in range(3)])


def test_pairs_of_two_sizes(tmp_path):
    """What is small beside what is large, grey beside coloured; of one field all have one size, and --size is of all."""
    small = [picture(tmp_path / "x" / f"a{i}.png", DRAW.integers(0, 256, (4, 4))) for i in range(2)]
    large = [picture(tmp_path / "x" / f"b{i}.png", DRAW.integers(0, 256, (8, 8, 3))) for i in range(2)]
    lines(tmp_path / "x", *({"file_name": f"b{i}.png", "small_file_name": f"a{i}.png"} for i in range(2)))
    source = data.load(str(tmp_path / "x"))
    np.testing.assert_array_equal(whole(source)["small"][..., 0], small)
    np.testing.assert_array_equal(whole(source)["x"], large)
    sized = data.load(data.settled(str(tmp_path / "x"), size="4"))
    assert sized.shape == (4, 4, 3) and sized.fields["small"].shape == (4, 4, 1)
    picture(tmp_path / "x" / "a1.png", np.zeros((6, 6)))
    data.load.cache_clear()
    assert "several sizes: a0.png is 4x4, a1.png is 6x6" in " ".join(told(tmp_path / "x"))


def test_a_pair_of_which_one_is_broken(tmp_path):
    """It is named, and both are left out with skip_bad; another partner is another data set."""
    for name in ("a0.png", "a1.png", "b0.png", "b1.png"):
        picture(tmp_path / "x" / name)
    lines(tmp_path / "x", *({"file_name": f"b{i}.png", "source_file_name": f"a{i}.png"} for i in range(2)))
    was = data.load(str(tmp_path / "x")).content
    (tmp_path / "x" / "a0.png").write_bytes(b"no picture")
    data.load.cache_clear()
    assert "1 can't be read: a0.png (is no picture)" in told(tmp_path / "x")[0]
    source = data.load(data.settled(str(tmp_path / "x"), skip_bad="yes"))
    assert source.n == 1 and source.content != was
    lines(tmp_path / "x", {"file_name": "b1.png", "source_file_name": "b1.png"})
    data.load.cache_clear()
    assert data.load(str(tmp_path / "x")).content not in (was, source.content)


WRONG = {
    "a missing file": ({"file_name": "no.png", "label": 1}, "names no.png, which is not there"),
    "out of the folder": ({"file_name": "../out.png", "label": 1}, "names ../out.png, which is not there"),
    "from the root": ({"file_name": "/etc/passwd", "label": 1}, "names /etc/passwd, which is not there"),
    "no JSON": ('{"file_name": "a.pn', "is not JSON"),
    "deep JSON": ("[" * 100_000, "is not JSON"),
    "a list": ("[1]", "has no file_name"),
    "no name": ({"label": 1}, "has no file_name"),
    "a number as a name": ({"file_name": 1}, "has no file_name"),
    "a label that is none": ({"file_name": "b.png", "label": 1.5}, "has the label 1.5, which is neither a word nor a whole number"),
    "a label of two": ({"file_name": "b.png", "label": [1, 2]}, "has the label [1, 2], which is"),
    "no label": ({"file_name": "b.png"}, "has no label, though others have"),
    "a caption that is no text": ({"file_name": "b.png", "label": 2, "text": 5}, "has the caption 5, which is no text"),
    "a partner that is missing": ({"file_name": "b.png", "label": 2, "source_file_name": "c.png"}, "names c.png, which is not there"),
    "a partner that is a number": ({"file_name": "b.png", "label": 2, "source_file_name": 1}, "has a source_file_name that is no name"),
    "a field that is taken": ({"file_name": "b.png", "label": 2, "y_file_name": "a.png"}, "has a y_file_name; y can't be a field of its own"),
    "a field that is no name": ({"file_name": "b.png", "label": 2, "../z_file_name": "a.png"}, "has a ../z_file_name; ../z can't be"),
    "a picture named twice": ({"file_name": "a.png", "label": 2}, "names a.png again, after metadata.jsonl line 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_line_of_metadata_that_is_wrong(tmp_path, name):
    """It is named with its number, and left out with skip_bad."""
    wrong, why = WRONG[name]
    picture(tmp_path / "out.png")
    for file in ("a.png", "b.png"):
        picture(tmp_path / "x" / file)
    lines(tmp_path / "x", {"file_name": "a.png", "label": 1}, wrong)
    first, second = told(tmp_path / "x")
    assert f"1 can't be read: metadata.jsonl line 2 ({why}" in first and "--skip-bad" in second
    assert data.load(data.settled(str(tmp_path / "x"), skip_bad="yes")).n == 1


def test_labels_of_several_types_are_refused(tmp_path):
    """3 and "3" may be one class or two: nobody knows, so skip_bad does not help either."""
    for i in range(2):
        picture(tmp_path / "x" / f"{i}.png")
    lines(tmp_path / "x", {"file_name": "0.png", "label": 3}, {"file_name": "1.png", "label": "3"})
    for choices in ({}, {"skip_bad": "yes"}):
        (line,) = told(tmp_path / "x", **choices)
        assert line.startswith(
            "labels are of several types: int in metadata.jsonl line 1 and str in metadata.jsonl line 2."
        )


# Pictures


def test_grey_pictures_have_one_channel(tmp_path):
    """All grey, whatever their files say: one channel. One in colour: three, and the grey ones stay what they are."""
    a = picture(tmp_path / "x" / "a.png", DRAW.integers(0, 256, (8, 8)))
    b = DRAW.integers(0, 256, (8, 8, 1)).repeat(3, 2)
    picture(tmp_path / "x" / "b.png", b)
    source = data.load(str(tmp_path / "x"))
    assert source.shape == (8, 8, 1)
    np.testing.assert_array_equal(whole(source)["x"][..., 0], [a, b[..., 0]])
    c = picture(tmp_path / "x" / "c.png")
    data.load.cache_clear()
    source = data.load(str(tmp_path / "x"))
    assert source.shape == (8, 8, 3)
    np.testing.assert_array_equal(whole(source)["x"], [a[..., None].repeat(3, 2), b, c])


def test_every_mode_comes_out_in_its_colours(tmp_path):
    """Transparent on white, a palette, 16 bits, CMYK and a turned one, as files of every format."""
    red = np.array([200, 30, 90], np.uint8)
    of = lambda mode, colour: np.asarray(Image.new(mode, (8, 8), colour))
    root = tmp_path / "x"
    picture(root / "0.png", of("RGBA", (200, 30, 90, 0)))  # nothing there: white
    root.joinpath("1.png").write_bytes(
        _png(Image.fromarray(of("RGB", tuple(red.tolist()))).convert("P", palette=Image.ADAPTIVE))
    )
    root.joinpath("2.png").write_bytes(_png(Image.fromarray(np.full((8, 8), 257 * 77, np.uint16))))
    Image.new("CMYK", (8, 8), (0, 51, 102, 0)).save(root / "3.tiff")
    turned, exif = DRAW.integers(0, 256, (8, 8, 3), np.uint8), Image.Exif()
    exif[0x0112] = 6  # the camera was held so that the picture's top is at the right of the file
    picture(root / "4.png", np.rot90(turned), exif=exif)
    for i, ending in enumerate(("webp", "bmp", "gif", "TIF"), 5):
        picture(
            root / f"{i}.{ending}", of("RGB", tuple(red.tolist())), **({"lossless": True} if ending == "webp" else {})
        )
    x = np.int32(whole(data.load(str(root)))["x"])
    for i, colour in enumerate([(255, 255, 255), red, (77, 77, 77), (255, 204, 153), None, red, red, red, red]):
        np.testing.assert_array_equal(x[i], turned if colour is None else np.broadcast_to(colour, (8, 8, 3)), str(i))


def _png(picture):
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def test_size_cuts_and_averages(tmp_path):
    """The middle square, each pixel the mean of its area; what is smaller is enlarged, and that is said."""
    a = picture(tmp_path / "x" / "a.png", DRAW.integers(0, 256, (8, 14, 3)))
    picture(tmp_path / "x" / "b.png", np.full((3, 2, 3), 9))
    source = data.load(data.settled(str(tmp_path / "x"), size="4"))
    assert source.shape == (4, 4, 3)
    mean = np.array([[a[r : r + 2, c : c + 2].reshape(4, 3).mean(0) for c in range(3, 11, 2)] for r in range(0, 8, 2)])
    np.testing.assert_array_equal(whole(source)["x"], [np.floor(mean + 0.5), np.full((4, 4, 3), 9)])
    assert "1 smaller than 4x4 and enlarged" in source.says


def test_pictures_of_several_sizes_need_one(tmp_path):
    """Both are named; of one size they stay as they are, squares or not."""
    picture(tmp_path / "x" / "a.png", np.zeros((4, 6)))
    assert data.load(str(tmp_path / "x")).shape == (4, 6, 1)
    picture(tmp_path / "x" / "b.png", np.zeros((6, 4)))
    data.load.cache_clear()
    first, second = told(tmp_path / "x")
    assert first == f"{tmp_path}/x holds pictures of several sizes: a.png is 6x4, b.png is 4x6." and "--size" in second


BROKEN = {
    "a text": (b"this is no picture", "is no picture"),
    "nothing": (b"", "is no picture"),
    "half of it": (None, "truncated"),
    "a page that is a program": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(x) (w) file\n",
        "is no picture",
    ),
    "too many pixels": (_png(Image.new("1", (10_001, 10_000))), "more than 100 megapixels"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_picture(tmp_path, name):
    """It is named and ends the run in two lines; with skip_bad it is left out, and named at every start."""
    stored, why = BROKEN[name]
    picture(tmp_path / "x" / "a.png")
    picture(tmp_path / "x" / "b.png")
    stored = stored if stored is not None else (tmp_path / "x" / "a.png").read_bytes()[:-60]
    (tmp_path / "x" / "bro ken.png").write_bytes(stored)
    first, second = told(tmp_path / "x")
    assert "1 can't be read: bro ken.png (" in first and why in first and "--skip-bad" in second
    for _ in range(2):
        source = data.load(data.settled(str(tmp_path / "x"), skip_bad="yes"))
        assert source.n == 2 and "left out, 1 can't be read: bro ken.png (" in source.says
        data.load.cache_clear()


def test_nothing_but_broken_pictures(tmp_path):
    """Is refused with skip_bad, too."""
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.png").write_text("")
    assert "no picture of the split train can be read" in told(tmp_path / "x", skip_bad="yes")[0]


# Arrays


def saved(tmp_path, *arrays, **named):
    if named or len(arrays) > 1:
        np.savez(tmp_path / "x.npz", *arrays, **named)
        return str(tmp_path / "x.npz")
    np.save(tmp_path / "x.npy", *arrays)
    return str(tmp_path / "x.npy")


U8 = DRAW.integers(2, 256, (3, 8, 6, 3), np.uint8)
IMAGES = {  # given, as a batch [3, 8, 6, c] in [-1, 1]
    "uint8": (U8, U8 / 127.5 - 1),
    "whole numbers in another type": (U8.astype(">i8"), U8 / 127.5 - 1),
    "floats in [0, 1]": (U8 / 255, U8 / 127.5 - 1),
    "floats in [-1, 1]": ((U8 / 127.5 - 1).astype(np.float32), U8 / 127.5 - 1),
    "half floats": ((U8 > 99).astype(np.float16), 2.0 * (U8 > 99) - 1),
    "bits": (U8[..., 0] > 99, 2.0 * (U8[..., :1] > 99) - 1),
    "0 and 1": ((U8[..., 0] > 99).astype(np.uint8), 2.0 * (U8[..., :1] > 99) - 1),
    "[n, h, w]": (U8[..., 1], U8[..., 1:2] / 127.5 - 1),
    "[n, 1, h, w]": (U8[..., 1][:, None], U8[..., 1:2] / 127.5 - 1),
    "[n, c, h, w]": (np.moveaxis(U8, -1, 1), U8 / 127.5 - 1),
    "in the order of Fortran": (np.asfortranarray(U8), U8 / 127.5 - 1),
}


@pytest.mark.parametrize("name", IMAGES)
def test_arrays_of_pictures(tmp_path, name):
    """Every form that is taken means the same picture, its numbers in [-1, 1] and its channels last."""
    given, meant = IMAGES[name]
    source = data.load(saved(tmp_path, given))
    assert source.kind == "image" and source.shape == meant.shape[1:] and source.n == 3
    x = np.asarray(source.make(jax.tree.map(jnp.asarray, whole(source)), KEY, 0, 3)["x"])
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, meant, rtol=0, atol=1e-6)


def test_what_an_array_is_taken_for_is_said(tmp_path):
    """Channels in second place, the range of floats, and which array of several."""
    x = np.moveaxis(U8, -1, 1) / 255
    said = data.load(saved(tmp_path, pictures=x, other=x)).says
    assert "x [3, 3, 8, 6] is taken as [n, c, h, w]" in said and "floats in [0, 1]: black is 0, white is 1" in said
    assert (
        "pictures is taken as x" in said
        and "left out: other" in said
        and "x.npz: 3 pictures, 8x6x3; no test split" in said
    )


def test_an_array_is_shrunk_as_a_picture_is(tmp_path):
    """The same square of floats as of bytes."""
    of = lambda given: whole(data.load(data.settled(saved(tmp_path, given), size="3")))["x"]
    small = of(U8)
    data.load.cache_clear()
    floats = of((U8 / 127.5 - 1).astype(np.float32))
    assert small.shape == floats.shape == (3, 3, 3, 3)
    np.testing.assert_allclose(floats, small / 127.5 - 1, rtol=0, atol=0.51 / 127.5)


def test_points_and_rows(tmp_path):
    """[n, 2] are points and [n, c] rows, float32 as they are; neither has modes."""
    for c, kind in ((2, "points"), (5, "row"), (1, "row")):
        x = DRAW.normal(size=(7, c)) * 100
        source = data.load(saved(tmp_path, x))
        data.load.cache_clear()
        assert source.kind == kind and source.shape == (c,) and source.modes is None
        np.testing.assert_array_equal(whole(source)["x"], x.astype(np.float32))
        assert "leaves no choice of size" in told(tmp_path / "x.npy", size="4")[0]


@pytest.mark.parametrize("y", [[5, 2, 5], [[5], [2], [5]], ["b", "a", "b"]])
def test_labels_of_an_npz(tmp_path, y):
    """Whole numbers, in a column too, or words; in order, with their names."""
    source = data.load(saved(tmp_path, x=U8, y=np.array(y)))
    assert filed(source)["y"].tolist() == [1, 0, 1] and source.fields["y"].names in (("2", "5"), ("a", "b"))


@pytest.mark.parametrize("bright", ["train", "test"])
def test_splits_of_an_npz(tmp_path, bright):
    """x_train, y_train, x_test and y_test, as Keras keeps them; what floats mean is the same in both splits."""
    x = {split: np.abs(U8 / 127.5 - 1) if split == bright else U8 / 127.5 - 1 for split in ("train", "test")}
    source = data.load(saved(tmp_path, x_train=x["train"], y_train=[0, 1, 2], x_test=x["test"][:1], y_test=[2]))
    assert source.n == 3 and source.test.n == 1 and source.classes == 3 and whole(source.test)["y"].tolist() == [2]
    np.testing.assert_allclose(filed(source)["x"], x["train"], atol=1e-6)
    np.testing.assert_allclose(whole(source.test)["x"], x["test"][:1], atol=1e-6)


REFUSED = {
    "objects": (np.array([{}, []], object), "objects are not read"),
    "NaN": (np.where(U8.max() == U8, np.nan, U8 / 255), "x holds NaN"),
    "NaN among points": (np.array([[0, 1], [np.nan, 0]]), "x holds NaN"),
    "infinite": (np.array([[0, 1], [np.inf, 0]]), "x holds infinite numbers"),
    "beyond float32": (np.array([[0, 1], [1e39, 0]]), "x holds infinite numbers, or nearly so"),
    "floats up to 255": (U8.astype(np.float32), "x is float32 from 2 to 255"),
    "just out of range": (U8 / 254, "or floats in [0, 1] or [-1, 1]"),
    "16 bits": (U8.astype(np.uint16) * 257, "x is uint16 from"),
    "whole numbers below 0": (U8.astype(int) - 128, "x is int64 from"),
    "words": (np.array([["a", "b"]]), "it must be numbers"),
    "complex numbers": (np.ones((3, 2), complex), "it must be numbers"),
    "times": (np.zeros((3, 2), "M8[s]"), "it must be numbers"),
    "one number": (np.float32(3), "x is []"),
    "a list": (np.zeros(5), "x is [5]"),
    "no rows": (np.zeros((0, 2)), "x is [0, 2]"),
    "no pictures": (np.zeros((0, 4, 4, 3)), "x is [0, 4, 4, 3]"),
    "no pixels": (np.zeros((4, 0, 4, 3)), "x is [4, 0, 4, 3]"),
    "five channels": (np.zeros((4, 8, 8, 5)), "x is [4, 8, 8, 5]"),
    "clips": (np.zeros((4, 3, 8, 8, 3)), "x is [4, 3, 8, 8, 3]"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_array_that_is_refused(tmp_path, name):
    """In a line that says what it holds."""
    given, why = REFUSED[name]
    np.save(tmp_path / "x.npy", given, allow_pickle=True)
    (line,) = told(tmp_path / "x.npy")
    assert why in line and "x.npy" in line


@pytest.mark.parametrize("y", [[0, 1], [[0, 1]] * 3, [0.0, 1.0, 2.0], [-1, 0, 1]])
def test_labels_that_are_refused(tmp_path, y):
    """Too few, one-hot, floats, below 0."""
    assert ": y " in told(saved(tmp_path, x=U8, y=np.array(y)))[0]


def test_a_zip_of_other_files(tmp_path):
    """Is no .npz."""
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as opened:
        opened.writestr("a.png", b"text")
    assert told(tmp_path / "x.npz") == [f"{tmp_path}/x.npz can't be read: it is a zip of other files."]


@pytest.mark.parametrize("ending", ["npy", "npz", "NPY"])
@pytest.mark.parametrize("stored", [b"", b"no array", b"\x80\x04.", b"PK\x03\x04", b"\x93NUMPY\x01\x00", "half"])
def test_a_file_that_is_no_array(tmp_path, ending, stored):
    """One line, whatever is in it, and no pickle is opened."""
    buffer = io.BytesIO()
    np.savez(buffer, x=U8) if ending == "npz" else np.save(buffer, U8)
    (tmp_path / f"x.{ending}").write_bytes(buffer.getvalue()[:-200] if stored == "half" else stored)
    (line,) = told(tmp_path / f"x.{ending}")
    assert f"x.{ending} can't be read: " in line


# Prepared once, by contents


def test_resident_and_streamed_are_the_same(tmp_path):
    """Batches of grey and coloured pictures, of points, and for several seeds: bit for bit."""
    for i in range(7):
        picture(tmp_path / "x" / str(i % 2) / f"{i}.png", DRAW.integers(0, 256, (8, 8) if i % 3 else (8, 8, 3)))
    np.save(tmp_path / "p.npy", DRAW.normal(size=(9, 2)))
    for path in ("x", "p.npy"):
        source = data.load(str(tmp_path / path))
        records = jax.tree.map(jnp.asarray, data.resident(source))
        for keys in (KEY, jax.random.split(KEY, 2)):
            streamed = data.stream(source, keys, 3, 5)
            for i in (5, 6, 7):
                of = lambda key: data.batch(source, records, key, i, 3)
                made = source.make if keys.ndim == 0 else jax.vmap(source.make, (0, 0, None, None))
                one = jax.jit(of if keys.ndim == 0 else jax.vmap(of))(keys)
                other = jax.jit(made, static_argnums=3)(next(streamed), keys, i, 3)
                jax.tree.map(np.testing.assert_array_equal, one, other)


def counted(monkeypatch):
    """Return a list to which every file is added whose bytes are digested, and one of those that are decoded."""
    digested, decoded = [], []
    digest, decode = contents.hashlib.file_digest, folder.decoded
    monkeypatch.setattr(
        contents.hashlib, "file_digest", lambda file, *a: digested.append(file.name) or digest(file, *a)
    )
    monkeypatch.setattr(folder, "decoded", lambda file, side: decoded.append(file) or decode(file, side))
    return digested, decoded


def again(path, **choices):
    data.load.cache_clear()
    return data.load(data.settled(str(path), **choices))


def test_an_unchanged_folder_is_not_read_again(tmp_path, monkeypatch):
    """Neither its pictures nor their bytes, once they are older than what a clock tells apart."""
    for i in range(3):
        picture(tmp_path / "x" / f"{i}.png")
    digested, decoded = counted(monkeypatch)
    first = again(tmp_path / "x").content
    assert len(digested) == 6 and len(decoded) == 3  # once more after they were prepared
    assert again(tmp_path / "x").content == first and len(digested) == 9 and len(decoded) == 3  # just written
    monkeypatch.setattr(contents, "SETTLED", -(10**12))
    for _ in range(3):
        assert again(tmp_path / "x").content == first
    assert len(digested) == 12 and len(decoded) == 3


def test_contents_decide(tmp_path, monkeypatch):
    """Another place is the same data; another byte in a file of the same size and time, name, label or size is not."""
    monkeypatch.setattr(contents, "SETTLED", -(10**12))
    for name in ("a/0.png", "b/1.png"):
        picture(tmp_path / "x" / name)
    _, decoded = counted(monkeypatch)
    of = lambda: again(tmp_path / "x").content
    seen = [of()]
    os.rename(tmp_path / "x", tmp_path / "y")
    assert again(tmp_path / "y").content == seen[0] and len(decoded) == 2
    os.rename(tmp_path / "y", tmp_path / "x")
    seen.append(again(tmp_path / "x", size="4").content)
    file = tmp_path / "x" / "a" / "0.png"
    times, stored = (file.stat().st_atime_ns, file.stat().st_mtime_ns), bytearray(file.read_bytes())
    stored[-5] ^= 1  # within the last check sum, which Pillow does not look at
    file.write_bytes(stored)
    os.utime(file, ns=times)
    seen.append(of())
    os.rename(file, file.with_name("2.png"))
    seen.append(of())
    os.rename(tmp_path / "x" / "a", tmp_path / "x" / "c")
    seen.append(of())
    picture(tmp_path / "x" / "c" / "3.png")
    seen.append(of())
    assert len(set(seen)) == len(seen) == 6
    fingerprints = {again(tmp_path / "x").fingerprint, again(tmp_path / "x", size="4").fingerprint}
    assert len(fingerprints) == 2


def test_splits_have_their_own_arrays(tmp_path):
    """What the cache keeps of train is not taken for test."""
    a, b = (picture(tmp_path / "x" / split / "0.png") for split in ("train", "test"))
    for _ in range(2):
        source = again(tmp_path / "x")
        np.testing.assert_array_equal(whole(source)["x"], a[None])
        np.testing.assert_array_equal(whole(source.test)["x"], b[None])


@pytest.mark.parametrize("how", ["truncated", "gone", "no JSON", "another shape"])
def test_what_is_prepared_and_spoilt_is_made_again(tmp_path, cache, how):
    """A file cut short or missing, or an info that can't be read."""
    a = picture(tmp_path / "x" / "0.png")
    again(tmp_path / "x")
    (made,) = (cache / "folders").glob("*/")
    if how == "truncated":
        os.truncate(made / "train.array_record", 100)
    elif how == "gone":
        (made / "train.array_record").unlink()
    else:
        (made / "info.json").write_text("{" if how == "no JSON" else "[1]")
    np.testing.assert_array_equal(whole(again(tmp_path / "x"))["x"], [a])
    assert sorted(path.name for path in (cache / "folders").glob("*/")) == [made.name]


def test_a_flipped_bit_is_found(tmp_path, cache):
    """What was prepared has check sums: two lines with the command that helps."""
    picture(tmp_path / "x" / "0.png", DRAW.integers(0, 256, (64, 64, 3)))
    again(tmp_path / "x")
    (made,) = (cache / "folders").glob("*/train.array_record")
    stored = bytearray(made.read_bytes())
    there = np.flatnonzero(np.frombuffer(stored, np.uint8))
    stored[there[len(there) // 2]] ^= 1
    made.write_bytes(stored)
    with pytest.raises(UserError, match=r"can't be read: .*\n.*python -m gan_jax.cache --empty folders"):
        again(tmp_path / "x").whole()


def test_a_picture_that_changes_meanwhile(tmp_path, cache, monkeypatch):
    """What was prepared would not be what its digest says: refused, and nothing is kept."""
    picture(tmp_path / "x" / "0.png")
    decode = folder.decoded
    monkeypatch.setattr(folder, "decoded", lambda file, side: (decode(file, side), picture(file))[0])
    assert told(tmp_path / "x") == [f"{tmp_path}/x changed while it was prepared: start again."]
    assert list((cache / "folders").glob("*/")) == []


def test_a_failure_leaves_nothing_behind(tmp_path, cache, monkeypatch):
    """Neither a broken picture nor Ctrl-C in the middle leaves half of a folder, or files that nobody names."""
    picture(tmp_path / "x" / "0.png")
    (tmp_path / "x" / "1.png").write_text("")
    told(tmp_path / "x")
    monkeypatch.setattr(prepared, "write_pictures", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        again(tmp_path / "x", size="4")
    assert [path for path in (cache / "folders").iterdir() if path.suffix != ".index"] == []


def test_a_folder_that_cannot_be_written_stays_as_it_is(tmp_path):
    """Nothing is written beside the pictures."""
    picture(tmp_path / "x" / "a" / "0.png")
    before = sorted(path.stat().st_mtime_ns for path in (tmp_path / "x").rglob("*"))
    for path in (tmp_path / "x" / "a", tmp_path / "x"):
        path.chmod(0o555)
    assert again(tmp_path / "x").n == 1
    assert sorted(path.stat().st_mtime_ns for path in (tmp_path / "x").rglob("*")) == before
    for path in (tmp_path / "x", tmp_path / "x" / "a"):
        path.chmod(0o755)


# Names, flags and runs


def test_a_path_or_a_set(tmp_path, monkeypatch, capsys):
    """A folder here that is called like a set is meant with ./ alone; another one, an .npy and a path are meant as such."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    for name in ("mnist", "ring8", "cats", "my cats", "cmaterdb/bangla", "pics/cats", "tfds/own_set"):
        (tmp_path / name).mkdir(parents=True)
    paths = ["./mnist", "mnist/", "cats", "my cats", "cats/", "pics/cats", "pics/dogs"]
    paths += ["x.npy", "X.NPZ", "/nowhere", "../x", "."]
    names = [
        "mnist",
        "ring8",
        "ring12",
        "digits",
        "cmaterdb/bangla",
        "own_set",
        "mnist:3.0.1",
        "nowhere/x",
        "x",
        "x\n",
        "",
    ]
    assert [name for name in paths + names if sets.is_path(name)] == paths
    assert data.settled("mnist") == "mnist" and "./mnist" in capsys.readouterr().err
    assert data.settled("./mnist/", size="8") == data.settled(f"{tmp_path}/mnist,size=8") == f"{tmp_path}/mnist,size=8"
    assert data.settled("cats,skip_bad=yes,size=3", size="8") == f"{tmp_path}/cats,skip_bad=yes,size=8"
    assert (
        data.settled("pics/../cats") == f"{tmp_path}/cats"
        and data.settled("none/../cats") == f"{tmp_path}/none/../cats"
    )
    assert data.settled("ring8") == "ring8" and data.settled("a,x=1") == "a,x=1"


NO_CHOICE = {
    "size=0": "size=0: size is a whole number from 1 on.",
    "size=x": "size=x: size is a whole number from 1 on.",
    "size=5000": "size=5000: pictures are cut to squares of up to 4096.",
    "skip_bad=1": "x has the choices size, skip_bad=yes, level and length, and no others.",
    "x=y": "x has the choices size, skip_bad=yes, level and length, and no others.",
    "level=word": "x has no captions: it leaves no choice of level or length.",
}


@pytest.mark.parametrize("choice", NO_CHOICE)
def test_a_choice_that_there_is_not(tmp_path, choice):
    """What there is to choose, in a line."""
    picture(tmp_path / "x" / "a.png")
    assert told(f"{tmp_path}/x,{choice}")[0].removeprefix(f"{tmp_path}/") == NO_CHOICE[choice]


TINY = ["--preset=images", "--batch-size=4", "--width=4", "--eval-every=0", "--steps=1"]


def test_flags_choose_and_are_kept(tmp_path, monkeypatch):
    """--size and --skip-bad become a part of the name, which is absolute; a resumed run has them unsaid, said or not."""
    picture(tmp_path / "x" / "a.png")
    monkeypatch.chdir(tmp_path)
    of = lambda *flags: cli.parse(vanilla.Config, vanilla.PRESETS, [*flags])[0].dataset
    assert of("--dataset=x", "--size=4") == of("--dataset=x,size=4") == f"{tmp_path}/x,size=4"
    assert of("--dataset=./x", "--size=4", "--skip-bad") == f"{tmp_path}/x,size=4,skip_bad=yes"
    assert of("--dataset=ring8") == "ring8"
    with pytest.raises(UserError, match="ring8 leaves no choice of size"):
        data.load(of("--dataset=ring8", "--size=4", "--preset=default"))


@pytest.mark.long
def test_a_run_keeps_to_its_data(tmp_path, monkeypatch):
    """It goes on from another folder; where a picture changed it is refused in a line, and nothing is written."""
    for i in range(5):
        picture(tmp_path / "x" / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "run"
    vanilla.main([*TINY, "--dataset=x", "--size=4", f"--out={out}"])
    config = json.loads((out / "config.json").read_text())
    assert (
        config["config"]["dataset"] == f"{tmp_path}/x,size=4"
        and config["data"] == data.load(f"{tmp_path}/x,size=4").content
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    data.load.cache_clear()
    state, _ = vanilla.main(["--resume", "--steps=2", f"--out={out}"])
    assert int(state.step) == 2
    assert gan_jax.load(out).sample(KEY, 3).shape == (3, 4, 4, 3)
    with pytest.raises(UserError, match="--dataset differs"):
        vanilla.main(["--resume", "--steps=3", "--size=8", f"--out={out}"])
    picture(tmp_path / "x" / "3.png")
    data.load.cache_clear()
    before = (out / "config.json").read_bytes()
    with pytest.raises(UserError) as error:
        vanilla.main(["--resume", "--steps=3", f"--out={out}"])
    assert str(error.value) == f"the data of the run in {out} changed since it began: begin anew with another --out."
    assert (out / "config.json").read_bytes() == before


def test_joined_folders_are_part_of_the_run(tmp_path):
    """The digest of both."""
    for name in "xy":
        picture(tmp_path / name / "a.png")
    x, y = (data.load(str(tmp_path / name)) for name in "xy")
    assert data.join(x=x, source=y).content == f"{x.content} {y.content}" != data.join(x=x, source=x).content
    assert data.join(x=data.load("ring8"), source=data.load("ring8")).content == ""


def test_a_broken_picture_ends_a_program(tmp_path):
    """Exit code 2 and two lines, no traceback; prepared beforehand with --skip-bad, it is left out."""
    picture(tmp_path / "x" / "a.png")
    (tmp_path / "x" / "b.png").write_text("text")
    env = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "xdg")}
    command = [sys.executable, "-m", "gan_jax.prepare", "--folder", str(tmp_path / "x"), "--size", "4"]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.splitlines()[1:] == [
        f"{tmp_path}/x: 1 can't be read: b.png (is no picture).",
        "Mend them, or leave them out with --skip-bad.",
    ]
    done = subprocess.run([*command, "--skip-bad"], env=env, capture_output=True, text=True)
    assert done.returncode == 0 and "x: 1 picture, 4x4x" in done.stdout
    assert len(list((tmp_path / "xdg" / "gan_jax" / "folders").glob("*/info.json"))) == 1


def test_real_pictures(tmp_path, tfds_dir):
    """Faces of 40 people, exported to a folder a person, come back as they were, with their labels."""
    import tensorflow_datasets as tfds

    faces = tfds.data_source("olivetti_faces", split="train", data_dir=tfds_dir, download=False).__getitems__(range(60))
    for i, face in enumerate(faces):
        picture(tmp_path / "x" / str(face["label"]) / f"{i:02}.png", face["image"][..., 0])
    source = data.load(str(tmp_path / "x"))
    assert source.shape == (64, 64, 1) and source.n == 60
    order = sorted(range(60), key=lambda i: (str(faces[i]["label"]), i))
    np.testing.assert_array_equal(filed(source)["x"], [faces[i]["image"] for i in order])
    assert [source.fields["y"].names[y] for y in filed(source)["y"]] == [str(faces[i]["label"]) for i in order]
