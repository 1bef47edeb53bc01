"""Record sets of any kind: fields by feature, splits, sizes, sequences, text, tables, and the cache."""

import os
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from strangers import file_of, written

import gan_jax.data.cache
from gan_jax import data
from gan_jax.data import pictures, records, tokens
from gan_jax.errors import UserError
from gan_jax.run import fit

KEY = jax.random.key(0)
RED = (200, 30, 90)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache folder of this module's own, with nothing loaded before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gan_jax.data.cache, "FOLDER", tmp_path_factory.mktemp("cache"))
        data.load.cache_clear()
        yield gan_jax.data.cache.FOLDER
    data.load.cache_clear()


def stored(folder, name, split, feature, at=None):
    """Return what TFDS itself reads of a feature, of all records or of these."""
    records = tfds.builder(name, data_dir=folder).as_data_source(split)
    return [one[feature] for one in records.__getitems__(list(range(len(records)) if at is None else at))]


def told(name):
    """Return the lines that loading a set ends in."""
    with pytest.raises(UserError) as error:
        source = data.load(name)
        source.read(np.arange(source.n))
    assert len(str(error.value).splitlines()) <= 2
    return str(error.value)


# Real sets


def test_a_pair_is_taken_either_way_round(tfds_dir):
    """Photo and label map of the same record, under the names that were chosen."""
    there = data.load("cmp_facades,x=photo,source=label_map")
    back = data.load("cmp_facades,x=label_map,source=photo")
    at = np.array([5, 0, 399])
    a, b = there.read(at), back.read(at)
    for name, feature in (("x", "photo"), ("source", "label_map")):
        np.testing.assert_array_equal(a[name], np.stack(stored(tfds_dir, "cmp_facades", "train", feature, at)))
    np.testing.assert_array_equal(a["x"], b["source"])
    np.testing.assert_array_equal(a["source"], b["x"])
    assert there.fields == {"x": data.Field((256, 256, 3), "image"), "source": data.Field((256, 256, 3), "image")}
    assert there.says == "cmp_facades: x photo, source label_map; train 400, test 106"
    assert there.fingerprint != back.fingerprint and (there.test.n, there.classes) == (106, 0)
    assert data.load("cmp_facades").says == "cmp_facades: x photo; train 400, test 106"


def test_captions_are_tokens_of_the_training_vocabulary(tfds_dir):
    """They read as they were written; words that no training caption has are unknown in the test split."""
    source = data.load("noto_emoji,y=category,caption=caption")
    captions = stored(tfds_dir, "noto_emoji", "train", "caption")
    field = source.fields["caption"]
    assert (field.kind, field.dtype, field.classes) == ("tokens", np.int32, len(field.names))
    raw = source.read(np.arange(source.n))
    assert raw["caption"].shape == (1738, *field.shape) and raw["caption"].dtype == np.int32
    for row, caption in zip(raw["caption"], captions, strict=True):
        assert tokens.text(row, field.names) == " ".join(tokens.pieces(caption.decode(), "word"))
    words = {word for caption in captions for word in tokens.pieces(caption.decode(), "word")}
    assert set(field.names[3:]) == words and (raw["caption"] != tokens.UNK).all()
    assert source.test.fields == source.fields
    unseen = [
        [i for i, word in enumerate(tokens.pieces(caption.decode(), "word")[: field.shape[0]]) if word not in words]
        for caption in stored(tfds_dir, "noto_emoji", "test", "caption")
    ]
    found = source.test.read(np.arange(source.test.n))["caption"]
    assert [np.flatnonzero(row == tokens.UNK).tolist() for row in found] == unseen and any(unseen)
    assert source.fields["y"].names[0] == "Smileys & Emotion" and source.classes == 10
    assert source.fields["x"].shape == (64, 64, 3)
    by_letter = data.load("noto_emoji,caption=caption,level=char,length=5")
    assert by_letter.read(np.array([3]))["caption"].shape == (1, 5)
    assert (
        tokens.text(by_letter.read(np.array([3]))["caption"][0], by_letter.fields["caption"].names)
        == captions[3].decode()[:5]
    )


def test_splits_by_name(tfds_dir):
    """A set without train and test: the first split, and none held out unless it is named; the line says so."""
    source = data.load("omniglot_small")
    assert source.says == "omniglot_small: x image; small1 2720, no test split"
    assert (source.n, source.test, source.shape) == (2720, None, (105, 105, 1))
    other = data.load("omniglot_small,split=small2,test=small1,y=alphabet:label")
    assert (other.n, other.test.n) == (3120, 2720)
    assert other.says == "omniglot_small: x image, y alphabet (5 classes); small2 3120, small1 2720 as test"
    np.testing.assert_array_equal(other.test.read(np.arange(3))["x"], source.read(np.arange(3))["x"])
    names, at = other.fields["y"].names, np.arange(0, 2720, 60)
    theirs = [name.decode() for name in stored(tfds_dir, "omniglot_small", "small2", "alphabet", at)]
    assert [names[i] for i in other.read(at)["y"]] == theirs and list(names) == sorted(names)
    held_out = [name.decode() for name in stored(tfds_dir, "omniglot_small", "small1", "alphabet", at)]
    expected = [names.index(name) if name in names else -1 for name in held_out]  # some alphabets are not in small2
    assert other.test.read(at)["y"].tolist() == expected and -1 in expected
    first = told("omniglot_small,split=small3")
    assert first == "omniglot_small has no split 'small3'; did you mean small2 or small1?\nIt has small1, small2."


def test_classes_that_are_pairs_of_values(tfds_dir):
    """A class is a letter of an alphabet, not the number that letters of all alphabets share; new pairs are -1."""
    source = data.load("omniglot_small,split=small2,test=small1,y=alphabet+character:label")
    letters, names = source.whole()["y"], source.row["y"].names
    assert source.classes == 3120 // 20 and (np.bincount(letters) == 20).all()  # drawn by twenty people each
    at = np.arange(0, 3120, 60)
    alphabets, characters = (stored(tfds_dir, "omniglot_small", "small2", of, at) for of in ("alphabet", "character"))
    theirs = [f"{a.decode()} {c.decode()}" for a, c in zip(alphabets, characters, strict=True)]
    assert [names[i] for i in source.read(at)["y"]] == theirs and list(names) == sorted(names)
    assert -1 in source.test.whole()["y"]
    assert "image of omniglot_small has no classes" in told("omniglot_small,y=alphabet+image:label")


def test_parts_of_a_split(tfds_dir):
    """A set that holds nothing out is cut by the user, and never into parts that share records."""
    source = data.load("german_credit_numeric,split=train[:800],test=train[800:]")
    assert (source.n, source.test.n) == (800, 200)
    rows = np.stack(stored(tfds_dir, "german_credit_numeric", "train", "features"))
    np.testing.assert_array_equal(source.test.read(np.arange(200))["x"], rows[800:])
    assert "have records in common" in told("german_credit_numeric,split=train[:80%],test=train[70%:]")
    assert data.load("german_credit_numeric").test is None
    assert data.load("mnist,test=").test is None and data.load("mnist,split=test").test is None


def test_pictures_of_several_sizes_one_by_one(tfds_dir):
    """Each in its own size, as it is stored; for training they are cut and shrunk."""
    expected = stored(tfds_dir, "set5", "test", "image")
    found = list(records.each("set5"))
    assert len({a.shape for a in found}) > 1
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    source = data.load("set5,size=64")
    assert source.shape == (64, 64, 3) and source.says == "set5: x image; test 5, no test split"
    np.testing.assert_array_equal(source.read(np.arange(5))["x"], [pictures.square(a, 64) for a in expected])
    assert told("set5").splitlines()[1].startswith("Say set5,size=64: ")
    assert sum(1 for _ in records.each("bsds300")) == 100 and sum(1 for _ in records.each("bsds300", "train")) == 200


def test_a_test_split_of_another_size_is_left_out_and_said(tfds_dir):
    """bsds300: 256x256 for training, photos of two other sizes for tests; `size` takes them in."""
    source = data.load("bsds300")
    assert source.shape == (256, 256, 3) and source.test is None
    assert "test left out: it has a image of 321x481, not 256x256 (size=64 would take it in)" in source.says
    small = data.load("bsds300,size=32")
    assert small.test.n == 100 and small.test.read(np.arange(2))["x"].shape == (2, 32, 32, 3)


def test_sequences_are_padded_and_masked(tfds_dir):
    """As long as the longest of the training split; what is behind a sequence's end is 0 and masked; longer is cut."""
    source = data.load("jsb_chorales")
    notes = stored(tfds_dir, "jsb_chorales", "train", "notes")
    longest = max(map(len, notes))
    assert source.fields["x"] == data.Field((longest, 4), "series", np.int32)
    assert source.fields["mask"] == data.Field((longest,), "row", np.bool_)
    raw = source.read(np.arange(source.n))
    assert raw["x"].dtype == np.int32 and raw["mask"].dtype == np.bool_
    for x, mask, expected in zip(raw["x"], raw["mask"], notes, strict=True):
        assert mask.tolist() == [True] * len(expected) + [False] * (longest - len(expected))
        np.testing.assert_array_equal(x[mask], expected)
        assert (x[~mask] == 0).all()
    assert f"x notes (length {longest})" in source.says
    cut = data.load("jsb_chorales,length=100")
    raw = cut.read(np.arange(20))
    np.testing.assert_array_equal(raw["x"][3], notes[3][:100])
    assert (raw["mask"].sum(1) == [min(100, len(one)) for one in notes[:20]]).all()
    assert f"length 100 of up to {longest}: longer ones are cut" in cut.says
    long = data.load("piano_midi_rolls")
    assert long.shape == (1024, 88) and "length 1024 of up to 3857: longer ones are cut" in long.says
    both = data.load("nottingham,x=melody,chords=chords,length=50")
    assert {k: f.shape for k, f in both.fields.items()} == {
        "x": (50, 3), "mask": (50,), "chords": (50, 14), "chords_mask": (50,)
    }  # fmt: skip


def test_a_label_map_is_a_picture_or_whole_numbers(tfds_dir):
    """Intensities by default, [h, w] of int32 by :label; shrunk maps hold no label that isn't there."""
    at = np.array([0, 200])
    maps = stored(tfds_dir, "camvid_small", "train", "label_map", at)
    picture = data.load("camvid_small,y=label_map")
    assert picture.fields["y"].kind == "image" and picture.classes == 0
    np.testing.assert_array_equal(picture.read(at)["y"], maps)
    source = data.load("camvid_small,y=label_map:label")
    assert source.fields["y"] == data.Field((120, 160), "label", np.int32, 12)
    raw = source.read(at)["y"]
    assert raw.dtype == np.int32
    np.testing.assert_array_equal(raw, [one[..., 0] for one in maps])
    assert source.classes == 0  # it has no one label
    small = data.load("camvid_small,y=label_map:label,size=40").read(at)["y"]
    np.testing.assert_array_equal(small, [one[1::3, 21:140:3, 0] for one in maps])
    decoded = jax.jit(data.decode)(source.read(at))
    assert decoded["y"].dtype == jnp.int32


def test_a_strip_of_frames_is_a_clip(tfds_dir):
    """Frame t is rows 64 t to 64 (t + 1) of the stored picture."""
    source = data.load("weizmann_actions,x=frames")
    assert source.fields["x"] == data.Field((16, 64, 64, 3), "video")
    assert source.fields["y"].names == ("wave1", "wave2", "jack", "bend")
    (strip,) = stored(tfds_dir, "weizmann_actions", "train", "frames", [7])
    clip = source.read(np.array([7]))["x"][0]
    assert clip.dtype == np.uint8
    for t in range(16):
        np.testing.assert_array_equal(clip[t], strip[64 * t : 64 * t + 64])
    small = data.load("weizmann_actions,size=32").read(np.array([7]))["x"][0]
    np.testing.assert_array_equal(small[3], pictures.square(clip[3], 32))


def test_voxels_are_minus_one_and_one(tfds_dir):
    """0 and 1 in the files, -1 and 1 in a batch."""
    source = data.load("modelnet10_voxels")
    (voxels,) = stored(tfds_dir, "modelnet10_voxels", "train", "voxels", [11])
    assert source.fields["x"] == data.Field((32, 32, 32, 1), "voxels") and source.classes == 10
    decoded = jax.jit(data.decode)(source.read(np.array([11])))
    np.testing.assert_array_equal(decoded["x"][0, ..., 0], 2.0 * voxels - 1)


def test_rows_of_tables(tfds_dir):
    """float32, as they are stored; columns have names where the set says them, or where they were chosen one by one."""
    for name, feature in (("german_credit_numeric", "features"), ("sp500", "ohlc"), ("diabetes130_codes", "codes")):
        source = data.load(name)
        expected = np.stack(stored(tfds_dir, name, "train", feature, range(50))).astype(np.float32)
        raw = source.read(np.arange(50))
        assert raw["x"].dtype == np.float32 and source.kind == "row" and raw.keys() == source.fields.keys()
        np.testing.assert_array_equal(raw["x"], expected)
    names = data.load("credit_card_fraud_sample").fields["x"].names
    assert names == ("Time", *(f"V{i}" for i in range(1, 29)), "Amount")
    esol = data.load("esol,x=weight+log_solubility,smiles=smiles")
    assert esol.fields["x"] == data.Field((2,), "row", names=("weight", "log_solubility"))
    weights = np.float32(stored(tfds_dir, "esol", "train", "weight"))
    np.testing.assert_array_equal(esol.read(np.arange(esol.n))["x"][:, 0], weights)
    assert tokens.level(esol.fields["smiles"].names) == "char"
    assert data.load("sp500,x=volume:row").fields["x"] == data.Field((1,), "row", names=("volume",))


def test_running_text_comes_in_windows(tfds_dir):
    """Record i of tiny_shakespeare is characters i * length on, and all windows together are the text."""
    source = data.load("tiny_shakespeare,length=100")
    (text,) = stored(tfds_dir, "tiny_shakespeare", "train", "text")
    text, field = text.decode(), source.fields["x"]
    assert source.n == (len(text) + 1) // 100 and field.shape == (100,) and source.test.fields == source.fields
    rows = source.read(np.arange(source.n))["x"]
    assert "".join(field.names[token] for token in rows.ravel()) == text[: 100 * source.n]
    assert tokens.text(source.read(np.array([[4]]))["x"][0, 0], field.names) == text[400:500]
    np.testing.assert_array_equal(source.whole()["x"], rows)
    assert data.load("wikitext2_heldout").says.endswith("; validation 8751, test 9804")
    kept = [f"tiny_shakespeare,length=100{choice}" for choice in ("", ",split=test,test=", ",level=word")]
    assert len({data.load(name).fingerprint for name in (*kept, "tiny_shakespeare")}) == 4
    assert data.load("wikitext2_heldout,title=title").n == 60  # beside another field a record is an article


def test_a_vocabulary_of_the_most_frequent(tfds_dir):
    """The first words stay what they are, all others are unknown: of running text, and of texts of their own."""
    for name, field in (("tiny_shakespeare,level=word,length=20", "x"), ("noto_emoji,caption=caption", "caption")):
        whole, few = data.load(name), data.load(f"{name},vocabulary=30")
        assert few.fields[field].names == whole.fields[field].names[:33] and few.fingerprint != whole.fingerprint
        x = whole.read(np.arange(50))[field]
        np.testing.assert_array_equal(few.read(np.arange(50))[field], np.where(x < 33, x, tokens.UNK))
    assert told("noto_emoji,caption=caption,vocabulary=0").startswith("vocabulary=0: vocabulary is a whole number")


def test_nested_features_by_path(tfds_dir):
    """The boxes of bccd_small, as many as there are, and a feature whose own name has a slash."""
    source = data.load("bccd_small,box=objects/bbox,file=image/filename:label,y=")
    assert source.shape == (240, 320, 3) and source.fields["box"].shape[1:] == (4,)
    objects = stored(tfds_dir, "bccd_small", "train", "objects", range(5))
    raw = source.read(np.arange(5))
    for i in range(5):
        np.testing.assert_array_equal(raw["box"][i][raw["box_mask"][i]], np.asarray(objects[i]["bbox"]).reshape(-1, 4))
    assert source.fields["file"].classes == 205 and "y" not in source.fields


def test_the_picture_sets_of_before(tfds_dir):
    """x and y of mnist and usps without any choice: the bytes that TFDS stores, in the order of the records."""
    for name, shape in (("mnist", (28, 28, 1)), ("usps", (16, 16, 1))):
        source, builder = data.load(name), tfds.builder(name, data_dir=tfds_dir)
        expected = builder.as_data_source("test").__getitems__(list(range(100)))
        raw = source.test.read(np.arange(100))
        np.testing.assert_array_equal(raw["x"], [one["image"] for one in expected])
        assert raw["y"].tolist() == [one["label"] for one in expected] and raw["y"].dtype == np.int32
        assert source.fields["x"] == data.Field(shape, "image") and source.fields["y"] == data.source.label(
            10, "0123456789"
        )
        assert source.says == f"{name}: x image, y label; train {source.n}, test {source.test.n}"


KINDS = [
    "noto_emoji,caption=caption,size=16", "jsb_chorales,length=64", "weizmann_actions,size=16", "tiny_shakespeare",
    "german_credit_numeric", "camvid_small,y=label_map:label,size=30", "digits,y=",
]  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_streamed_and_resident_batches_have_the_same_bits(name, tfds_dir):
    """Of every kind of field, across the end of an epoch, for one key and for two."""
    source, b = data.load(name), 32
    arrays = jax.tree.map(jnp.asarray, data.resident(source))
    make = jax.jit(lambda raw, key, i: source.make(raw, key, i, b))
    batch = jax.jit(lambda arrays, key, i: data.batch(source, arrays, key, i, b))
    assert source.nbytes == sum(a.nbytes for a in arrays.values())
    start = source.n // b - 1
    for i, raw in zip(range(start, start + 3), data.stream(source, KEY, b, start), strict=False):
        streamed, resident = make(raw, KEY, i), batch(arrays, KEY, i)
        assert streamed.keys() == source.fields.keys()
        for field, a in streamed.items():
            assert a.shape == (b, *source.fields[field].shape) and a.dtype == source.fields[field].dtype
            np.testing.assert_array_equal(a, resident[field])
    keys = jax.random.split(KEY, 2)
    raw = next(data.stream(source, keys, b, start))
    for at in range(2):
        mine = make(jax.tree.map(lambda a: a[at], raw), keys[at], start)
        jax.tree.map(np.testing.assert_array_equal, mine, batch(arrays, keys[at], start))


def test_what_is_asked_and_isn_t_there(tfds_dir):
    """Unknown features are listed with the nearest; sizes, lengths and levels that mean nothing are refused."""
    assert told("mnist,x=imag") == "mnist has no feature 'imag'; did you mean image?\nIt has image, label."
    assert told("mnist,split=tset") == "mnist has no split 'tset'; did you mean test?\nIt has train, test."
    assert told("mnist,test=none") == "mnist has no split 'none'.\nIt has train, test."
    assert told("mnist,size=99999") == "size=99999: a picture has at most 100 megapixels."
    assert told("mnist,size=9,size=8") == "mnist,size=9,size=8 says size= more than once: which one is meant?"
    assert (
        told("mnist,split=train+test[:1]+train[:5]") == "split 'train+test[:1]+train[:5]' of mnist has records twice."
    )
    assert told("mnist,split=train[50%:10%]") == "split 'train[50%:10%]' of mnist is empty."
    assert told("mnist,test=test[50%:10%]") == "split 'test[50%:10%]' of mnist is empty."
    assert told("mnist,size=0") == told("mnist,size=0") == "size=0: size is a whole number from 1 on."
    assert told("mnist,length=x").startswith("length=x: ")
    assert told("mnist,level=letter") == "level=letter: text is cut by char or word."
    assert told("mnist,x=image:maps") == "x=image:maps: a feature is taken as label or row."
    assert "it can't be a row" in told("mnist,x=image:row")
    assert told("bccd_small,x=objects").startswith("bccd_small has no feature 'objects'; did you mean ")
    assert told("nottingham,mask=key").startswith("nottingham: two fields would be called mask; ")


def test_a_run_says_what_it_took(tfds_dir):
    """The first line of a run."""
    devices = types.SimpleNamespace(devices=np.array(jax.devices()[:1]), size=1)
    run = types.SimpleNamespace(seeds=1, experiment="experiments.images.dcgan")
    lines = fit.describe(run, data.load("usps"), devices).splitlines()
    assert lines == ["usps: x image, y label; train 7291, test 2007", "dcgan on usps: 1 seed, 1 x cpu"]
    assert len(fit.describe(run, data.load("ring8"), devices).splitlines()) == 1


# Sets that are written here


@pytest.fixture
def sets(tmp_path, monkeypatch):
    """The function that writes a set into a new folder, from which sets are loaded."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    data.load.cache_clear()
    yield lambda name, features, **splits: written(tmp_path, name, features, **splits)
    data.load.cache_clear()


def paletted(h=3, w=4):
    picture = Image.new("P", (w, h), 7)
    picture.putpalette([0, 0, 0] * 7 + list(RED))
    return picture


def turned(colour):
    """Return the file of a picture of one colour, 3 high and 4 wide, that a camera took on its side."""
    exif = Image.Exif()
    exif[pictures.ORIENTATION] = 6
    return file_of(Image.new("RGB", (3, 4), colour), "PNG", exif=exif)


def test_pictures_of_every_mode_come_out_in_their_colours(sets):
    """Among RGB records: palette, one bit, 16 bits, transparent, CMYK, turned; by TFDS some were indices or bits."""
    files = [
        (file_of(Image.new("RGB", (4, 3), RED)), RED),
        (file_of(paletted()), RED),
        (file_of(Image.new("1", (4, 3), 1)), (255, 255, 255)),
        (file_of(Image.fromarray(np.full((3, 4), 257 * 77, "<u2"))), (77, 77, 77)),
        (file_of(Image.new("RGBA", (4, 3), (0, 0, 0, 0))), (255, 255, 255)),
        (file_of(Image.new("RGBA", (4, 3), (*RED, 51))), (244, 210, 222)),
        (file_of(Image.new("L", (4, 3), 9)), (9, 9, 9)),
        (file_of(Image.new("CMYK", (4, 3), (0, 51, 102, 0)), "JPEG", quality=100), (255, 204, 153)),
        (turned(RED), RED),
    ]
    sets("modes", {"image": tfds.features.Image(shape=(3, 4, 3))}, train=[{"image": file} for file, _ in files])
    raw = data.load("modes").read(np.arange(len(files)))["x"]
    assert raw.shape == (len(files), 3, 4, 3) and raw.dtype == np.uint8
    expected = np.broadcast_to(np.array([colour for _, colour in files])[:, None, None], raw.shape)
    np.testing.assert_allclose(raw.astype(int), expected, atol=1)
    np.testing.assert_array_equal(np.delete(raw, 7, 0), np.delete(expected, 7, 0))
    np.testing.assert_array_equal(np.stack(list(records.each("modes"))), raw)


def test_grey_sets_and_16_bits(sets):
    """A set of one channel: 16 bits are scaled, colours become grey."""
    files = [file_of(Image.fromarray(np.full((3, 4), 65535, "<u2"))), file_of(paletted())]
    image = tfds.features.Image(shape=(3, 4, 1), dtype=np.uint16, encoding_format="png")
    sets("deep", {"image": image}, train=[{"image": file} for file in files])
    assert data.load("deep").read(np.arange(2))["x"][:, 0, 0, 0].tolist() == [255, 88]


def test_a_record_that_can_t_be_read_is_named(sets):
    """Broken bytes, another size, values outside of every convention: the number of the record, not a wrong picture."""
    good = file_of(Image.new("RGB", (4, 3), RED))
    image = {"image": tfds.features.Image(shape=(3, 4, 3))}
    bad = {
        "broken": (good[:40], "record 2 of broken, split train, can't be read"),
        "other": (file_of(Image.new("RGB", (3, 4), RED)), "image is 4x3x3, not 3x4x3"),
        "beyond": (file_of(Image.fromarray(np.full((3, 4), 3e9, np.float32)), "TIFF"), "are from 3e+09 to 3e+09"),
    }
    for name, (file, words) in bad.items():
        sets(name, image, train=[{"image": good}, {"image": good}, {"image": file}])
        line = told(name)
        assert words in line and line.startswith(f"record 2 of {name}, split train, can't be read: ")


def test_one_size_is_found_where_none_is_said(sets):
    """Upright sizes: a picture on its side counts as it is seen. Several sizes are refused, or cut and shrunk."""
    image = {"image": tfds.features.Image()}
    one = [{"image": file_of(Image.new("RGB", (4, 3), RED))}, {"image": turned(RED)}]
    two = [*one, {"image": file_of(Image.new("RGB", (9, 6), RED))}]
    sets("one_size", image, train=one, test=one)
    sets("two_sizes", image, train=two, test=one)
    sets("other_test", image, train=one, test=two)
    assert data.load("one_size").shape == (3, 4, 3) and data.load("one_size").test.n == 2
    assert told("two_sizes").startswith(
        "the images of two_sizes have several sizes, 3x4, 6x9 among them.\nSay two_sizes,size=64"
    )
    assert data.load("two_sizes,size=3").read(np.arange(3))["x"].shape == (3, 3, 3, 3)
    left_out = data.load("other_test")
    assert left_out.test is None and "test left out: it has a image of 6x9, not 3x4" in left_out.says
    assert data.load("other_test,size=2").test.read(np.arange(3))["x"].shape == (3, 2, 2, 3)


def test_numbers_keep_their_values(sets):
    """64-bit whole numbers become int32 or, where they are too large, an error; they never wrap around."""
    features = {
        "n": tfds.features.Scalar(np.int64),
        "f": tfds.features.Scalar(np.float64),
        "ok": tfds.features.Scalar(np.bool_),
    }
    good = {"n": -5, "f": 0.1, "ok": True}
    sets("numbers", features, train=[good, {"n": 2**31 - 1, "f": 2.0, "ok": False}], test=[good | {"n": 2**31}])
    source = data.load("numbers,x=f,y=n,ok=ok")
    raw = source.read(np.arange(2))
    assert raw["y"].tolist() == [-5, 2**31 - 1] and raw["y"].dtype == np.int32
    assert raw["x"].dtype == np.float32 and raw["x"].tolist() == [[np.float32(0.1)], [2.0]]
    assert raw["ok"].tolist() == [1, 0] and source.fields["ok"].names == ("False", "True")
    with pytest.raises(UserError, match=r"record 0 of numbers, split test, .*2147483648 is larger than int32"):
        source.test.read(np.arange(1))
    assert data.load("numbers,x=n:row").test.read(np.arange(1))["x"].tolist() == [[2.0**31]]
    classes = data.load("numbers,x=f,y=n:label")
    assert classes.read(np.arange(2))["y"].tolist() == [0, 1] and classes.fields["y"].names == ("-5", "2147483647")
    assert classes.test.read(np.arange(1))["y"].tolist() == [-1]


def test_records_that_are_sorted_by_class(sets):
    """What samples are held against is of all classes, though the first thousand records are of two."""
    records = [{"v": np.full((4, 4, 1), 9 * y, np.uint8), "y": y} for y in range(5) for _ in range(600)]
    features = {"v": tfds.features.Tensor(shape=(4, 4, 1), dtype=np.uint8)}
    sets("sorted", features | {"y": tfds.features.ClassLabel(num_classes=5)}, train=records)
    source = data.load("sorted")
    assert set(source.read(np.arange(1000))["y"].tolist()) == {0, 1}
    found = data.reference(source)
    assert len(found["means"]) == 5 and len(np.unique(found["means"])) == len(np.unique(found["real"])) == 5


def test_voxels_hold_0_and_1_alone(sets):
    """A density is no voxel of ours: 2 is refused, not shown as full."""
    full = np.ones((5, 6, 7), np.uint8)
    sets("solid", {"v": tfds.features.Tensor(shape=(5, 6, 7), dtype=np.uint8)}, train=[{"v": full}, {"v": 2 * full}])
    source = data.load("solid")
    assert source.read(np.arange(1))["x"].min() == 255 and source.shape == (5, 6, 7, 1)
    with pytest.raises(UserError, match=r"record 1 of solid.*2 where voxels are 0 or 1"):
        source.read(np.arange(2))


def test_voxels_are_shrunk_by_whole_blocks(sets):
    """`size=` was no choice of theirs, and nobody was told: a block is full where one of its voxels is."""
    full = np.zeros((4, 6, 8), np.uint8)
    full[0, 1, 7] = full[3, 5, 0] = 1
    sets("solid", {"v": tfds.features.Tensor(shape=(4, 6, 8), dtype=np.uint8)}, train=[{"v": full}])
    source = data.load("solid,size=2")
    shrunk = np.zeros((2, 2, 2), np.uint8)
    shrunk[0, 0, 1] = shrunk[1, 1, 0] = 255
    assert source.shape == (2, 2, 2, 1)
    np.testing.assert_array_equal(source.read(np.arange(1))["x"][0, ..., 0], shrunk)
    with pytest.raises(UserError, match="size=3: the voxels of solid are 4x6x8; blocks of them have to be whole"):
        data.load("solid,size=3")


@pytest.mark.parametrize(
    "name, choice, kinds",
    [
        ("german_credit_numeric,size=8", "size", "label, row"),
        ("mnist,length=8", "length", "image, label"),
        ("mnist,level=word", "level", "image, label"),
        ("jsb_chorales,vocabulary=9", "vocabulary", "row, series"),
        ("tiny_shakespeare,size=8", "size", "tokens"),
    ],
)
def test_a_choice_of_which_nothing_comes(tfds_dir, name, choice, kinds):
    """It is refused, not left out unsaid."""
    with pytest.raises(UserError, match=f"leaves no choice of {choice}: its fields are {kinds}"):
        data.load(name)


def test_clips_of_encoded_frames(sets):
    """A clip whose frames are files of any mode, and one of raw bytes."""
    video = tfds.features.Sequence(tfds.features.Image(shape=(3, 4, 3)), length=2)
    frames = [file_of(paletted()), file_of(Image.new("RGB", (4, 3), (1, 2, 3)))]
    sets("clips", {"clip": video}, train=[{"clip": frames}])
    source = data.load("clips")
    assert source.fields["x"] == data.Field((2, 3, 4, 3), "video")
    assert source.read(np.array([0]))["x"][0, :, 1, 1].tolist() == [list(RED), [1, 2, 3]]


def test_texts_short_and_running(sets):
    """Short texts are rows with an end; one long text comes in windows; beside another field it is cut, and said so."""
    text = {"text": tfds.features.Text()}
    sets("short", text, train=[{"text": "ab c"}, {"text": "d"}], test=[{"text": "ab zz"}])
    source = data.load("short")
    names = source.fields["x"].names
    assert names == ("<pad>", "<unk>", "<end>", "ab", "c", "d") and source.shape == (3,)
    assert source.read(np.arange(2))["x"].tolist() == [[3, 4, 2], [5, 2, 0]]
    assert source.test.read(np.arange(1))["x"].tolist() == [[3, 1, 2]]
    long = "abcd" * 2000
    sets(
        "running",
        text | {"n": tfds.features.Scalar(np.int64)},
        train=[{"text": long, "n": 1}],
        test=[{"text": "abz" * 90, "n": 2}],
    )
    source = data.load("running,length=30")
    assert (source.n, source.test.n) == (8001 // 30, 271 // 30)
    row = source.test.read(np.arange(1))["x"][0]
    assert [source.fields["x"].names[i] for i in row] == ["a", "b", "<unk>"] * 10
    cut = data.load("running,n=n")
    assert cut.shape == (1024,) and "length 1024 of up to 8001: longer ones are cut" in cut.says
    assert "has no 300 chars: ask for a smaller length" in told("running,length=300")


# The cache


def test_other_pixels_under_the_same_name_are_read_anew(sets, tmp_path, capsys):
    """The set was prepared again: same name, sizes and shapes, other bytes. What was kept of before isn't taken."""
    image = {"image": tfds.features.Image(shape=(3, 4, 3))}
    fingerprints = []
    for level in (10, 20):
        sets("again", image, train=[{"image": file_of(Image.new("RGB", (4, 3), (level,) * 3))}])
        data.load.cache_clear()
        source = data.load("again")
        fingerprints.append(source.fingerprint)
        assert (data.resident(source)["x"] == level).all()
        for file in (tmp_path / "again").rglob("*"):
            if file.is_file():
                file.unlink()
        for folder in sorted((tmp_path / "again").rglob("*"), reverse=True):
            folder.rmdir()
    assert fingerprints[0] != fingerprints[1]


def test_the_fingerprint_says_all_that_the_arrays_depend_on(sets, tmp_path, monkeypatch):
    """Split, features, choices, the shards' sizes and times, and the version of the decoding."""
    both = {"image": tfds.features.Image(shape=(3, 4, 3)), "mask": tfds.features.Image(shape=(3, 4, 1))}
    one = {"image": file_of(paletted()), "mask": file_of(Image.new("L", (4, 3), 2))}
    sets("prints", both, train=[one] * 2, test=[one], other=[one])
    names = [
        "prints",
        "prints,split=train[:1]",
        "prints,x=mask",
        "prints,size=2",
        "prints,m=mask",
        "prints,m=mask:label",
        "prints,split=other",
    ]
    seen = [data.load(name).fingerprint for name in names] + [data.load("prints").test.fingerprint]
    assert len(set(seen)) == len(seen) and all(seen)
    (shard,) = (tmp_path / "prints").rglob("*train*record*")
    os.utime(shard, (1, 1))
    data.load.cache_clear()
    touched = data.load("prints").fingerprint
    assert touched not in seen
    monkeypatch.setattr("gan_jax.data.stored.DECODING", 10**6)
    data.load.cache_clear()
    assert data.load("prints").fingerprint not in [*seen, touched]
    shard.unlink()
    data.load.cache_clear()
    assert "Prepare it again: " in told("prints")


@pytest.mark.parametrize(
    "kept", [{"x": np.zeros((1, 3, 4, 3), np.uint8)}, {"x": np.zeros((2, 3, 4, 3), np.float32)}, {"z": np.zeros(2)}]
)
def test_what_is_kept_and_does_not_fit_is_read_anew(sets, kept, cache):
    """Rows, shapes and types of what the cache holds are those of the source, or it is mended."""
    file = file_of(Image.new("RGB", (4, 3), RED))
    sets("kept", {"image": tfds.features.Image(shape=(3, 4, 3))}, train=[{"image": file}] * 2)
    source = data.load("kept")
    (cache / "arrays").mkdir(exist_ok=True)
    np.savez(cache / "arrays" / f"{source.fingerprint}.npz", **kept)
    assert (data.resident(source)["x"] == RED).all()
    with np.load(cache / "arrays" / f"{source.fingerprint}.npz") as mended:
        assert mended["x"].shape == (2, 3, 4, 3)


def test_no_fingerprint_no_cache(cache):
    """Two sources made by hand share no file, whatever lies about."""
    np.savez(cache / ".npz", x=np.zeros(3))
    found = [gan_jax.data.cache.arrays("", lambda v=v: {"x": np.full(3, v)})["x"].tolist() for v in (1, 2)]
    assert found == [[1] * 3, [2] * 3]
    assert records.whole("mine", 2, lambda rows: {"x": rows + 5}, "")["x"].tolist() == [5, 6]
    (cache / ".npz").unlink()
