"""Pictures show what they say they show: of every kind, on arrays whose picture is known."""

import dataclasses
import functools
import itertools
import sys

import jax
import jax.numpy as jnp
import mido
import numpy as np
import pytest
from matplotlib.patches import Rectangle
from PIL import Image
from runs import DIGITS, RING, rows

from experiments import unrolled
from gan_jax import UserError, data
from gan_jax.data import Field, Source
from gan_jax.run import Picture, evaluate, log, plots
from gan_jax.run.plots import given, images, moving, music, page, points, tables, text, video, voxels
from gan_jax.run.program import program


def trained(out, *flags, of=RING, **parts):
    """Train the tiny unrolled GAN with these parts in place of its own, and return (state, results)."""
    own = {name: getattr(unrolled, name) for name in ("setup", "init", "step", "sample")}
    return program(unrolled.Config, unrolled.PRESETS, **own | parts)([*of, f"--out={out}", *flags])


def opened(file):
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def frames(file):
    with Image.open(file) as image:
        for i in range(image.n_frames):
            image.seek(i)
            yield np.asarray(image.convert("RGB")).astype(int)


# Images


def test_pictures_run_together():
    """Each image stands at its place, enlarged by a whole factor, with the page's grey all around it."""
    x = np.random.default_rng(0).uniform(-1, 1, (6, 8, 8, 1)).astype(np.float32)
    sheet = plots.grid(x, 3).astype(int)  # 24 pixels across: a factor of 22
    seen = np.zeros(sheet.shape[:2], bool)
    for i, one in enumerate(x):
        top, left = page.GAP + i // 3 * (8 * 22 + page.GAP), page.GAP + i % 3 * (8 * 22 + page.GAP)
        tile = sheet[top:, left:][: 8 * 22, : 8 * 22]
        np.testing.assert_allclose(tile, ((one + 1) * 127.5).repeat(22, 0).repeat(22, 1).repeat(3, 2), atol=0.51)
        seen[top : top + 8 * 22, left : left + 8 * 22] = True
    assert (sheet[~seen] == page.GROUND).all() and not seen[0].any() and not seen[:, -1].any()


def test_a_place_without_an_image_is_not_black():
    """Of a grid that isn't full, what is left over stays empty."""
    sheet = plots.grid(-np.ones((3, 8, 8, 1)), 2)
    assert (sheet[-20:, -20:] == page.GROUND).all() and (sheet[10:30, 10:30] == 0).all()


def test_a_caption_under_another_picture():
    """A changed caption, row title or head changes the page where it belongs, and nowhere else."""
    x = np.zeros((4, 32, 32, 3))
    draw = functools.partial(plots.grid, x, 2)
    plain = dict(captions=["o"] * 4, rows=["o", "o"], heads=["o", "o"])
    before = draw(**plain).astype(int)
    half = np.array(before.shape[:2]) // 2

    def where(**changed):
        after = draw(**plain | changed).astype(int)
        return np.argwhere((after != before).any(-1))  # [pixels, (down, across)]

    changed = where(captions=["o", "o", "x", "o"])  # the third: below, left
    assert len(changed) and (changed[:, 0] > half[0]).all() and (changed[:, 1] < half[1] + 20).all()
    changed = where(rows=["x", "o"])
    assert len(changed) and (changed[:, 0] < half[0]).all() and (changed[:, 1] < 20).all()
    changed = where(heads=["o", "x"])
    assert len(changed) and (changed[:, 0] < 20).all() and (changed[:, 1] > half[1]).all()


def test_a_long_caption_runs_into_the_next():
    """A text is broken to its width, letters that can't be broken too, and what is left out is three dots."""
    lines = page.wrapped("a very long caption of many words incomprehensibilities and more", 90)
    assert len(lines) == 3 and lines[-1].endswith("…")
    assert all(page.width_of(line) <= 90 for line in lines)
    assert page.wrapped("incomprehensibilities", 60)[0].endswith("…") and page.wrapped("two words", 200) == [
        "two words"
    ]


@pytest.mark.parametrize("c", [2, 4, 7])
def test_layers_look_alike(c):
    """Of channels that aren't grey or red, green and blue, each has a colour of its own, and none is black."""
    seen = images.colours(np.eye(c) * 2 - 1)  # [c, 3]
    assert len(np.unique(seen, axis=0)) == c and (seen.max(1) > 200).all()
    assert (images.colours(-np.ones((1, c))) == 0).all()


def test_grey_and_colours():
    """Grey is three times the same; red, green and blue are what they are; what is no number is neither 0 nor an error."""
    np.testing.assert_array_equal(images.colours(np.array([[-1.0], [0], [1], [7]]))[:, 1], [0, 128, 255, 255])
    np.testing.assert_array_equal(images.colours(np.array([[-1.0, 0, 1]])), [[0, 128, 255]])
    images.colours(np.array([[np.nan], [np.inf]]))


# Points


def blue(picture):
    """Return where a picture shows samples."""
    return picture[..., 2].astype(int) - picture[..., 0] > 40


def test_points_of_their_own_have_numbers_and_are_all_seen(monkeypatch):
    """What no data stand beside is drawn whole, between axes with numbers and the names of its columns."""
    x = np.random.default_rng(0).gamma(0.3, size=(2, 400, 2))  # a few are far out
    with monkeypatch.context() as patch:
        patch.setattr(page, "rendered", lambda fig: fig)
        field = Field((2,), "points", names=("across", "up"))
        (axis,) = points.table(x, Picture(x, "points", ("a", "b")), given.Given(field)).axes
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("across", "up") and len(axis.get_xticks()) > 2
    low, high = np.array([axis.get_xlim(), axis.get_ylim()]).T
    assert (x.min((0, 1)) >= low).all() and (x.max((0, 1)) <= high).all()


def test_points_of_a_file_have_no_modes(tmp_path, monkeypatch):
    """Without modes, samples are drawn over real points, and of five columns the first two, which the title says."""
    rng = np.random.default_rng(0)
    real, x = rng.normal(size=(500, 5)), rng.normal(size=(300, 5))
    with monkeypatch.context() as patch:
        patch.setattr(page, "rendered", lambda fig: fig)
        (axis,) = points.drawn({"a": x}, real=real).axes
    below, above = (np.asarray(drawn.get_offsets()) for drawn in axis.collections)
    np.testing.assert_allclose(below, real[:, :2])
    np.testing.assert_allclose(above, x[:, :2])
    assert axis.get_title() == "a: columns 1, 2 of 5" and "over data (grey)" in axis.get_xlabel()
    low, high = np.array([axis.get_xlim(), axis.get_ylim()]).T
    outside = ((above < low) | (above > high)).any(1).mean()
    assert outside < 0.005 or axis.get_xlabel().endswith(f"{outside:.0%} outside")
    plots.scatter(tmp_path / "x.png", {"a": x}, np.array([[0.0, 0], [1, 1]]), 0.1)
    assert blue(opened(tmp_path / "x.png")).any()
    assert blue(points.drawn({"a": x[:, :1], "b": x[:, :1]}, real=real[:, :1])).any()  # a histogram


# Clips


def clips(n=3, t=5):
    """Return clips [n, t, 4, 4, 1] whose grey says which clip and frame it is."""
    of = np.arange(n)[:, None] * 40 + np.arange(t) * 8 + 20  # grey
    return np.broadcast_to((of / 127.5 - 1)[..., None, None, None], (n, t, 4, 4, 1)), of


def test_frames_of_another_clip(tmp_path):
    """A row of the strips is a clip, a column a frame; frame t of the GIF shows frame t of every clip."""
    x, of = clips()
    source = Source("clips", {"x": Field((5, 4, 4, 1), "video")})
    plots.samples(tmp_path / "v.png", x, source, [0])
    sheet = opened(tmp_path / "v.png")
    size = -(-512 // 20) * 4 + page.GAP
    top = sheet.shape[0] - 3 * size
    for (i, t), grey in np.ndenumerate(of):
        assert abs(sheet[top + i * size + 5, page.GAP + t * size + 5] - grey).max() <= 1
    shown = list(frames(tmp_path / "v.gif"))
    assert len(shown) == 5
    for t, frame in enumerate(shown):
        size = 64 * 4 + page.GAP  # two by two
        for i in range(3):
            at = page.GAP + i // 2 * size + 5, page.GAP + i % 2 * size + 5
            assert abs(frame[at] - of[i, t]).max() <= 1


def test_a_long_clip_is_a_long_picture():
    """Of 40 frames, 16 at even distances are in the strip, the first and the last one among them."""
    x = np.zeros((1, 40, 4, 4, 1)) + np.linspace(-1, 1, 40)[None, :, None, None, None]
    sheet = video.strips(x).astype(int)
    middle = sheet[-10, page.GAP + 5 :: sheet.shape[1] // 16][:16, 0]
    assert middle[0] == 0 and middle[-1] == 255 and (np.diff(middle) > 0).all()
    assert sheet.shape[1] < 16 * 4 * 9 + 100


# Voxels


def at_cells(n):
    """Return the pixels in which the middles of n cells lie, with one cell of air at each end."""
    reach = n / 2 + 1
    return np.round((np.arange(n) + 0.5 - n / 2 + reach) / (2 * reach) * (voxels.SIDE - 1)).astype(int)


def test_a_solid_seen_from_its_back():
    """Each view's outline is the solid's projection: along d right is -h, along h right is d, from above down is -d."""
    solid = np.random.default_rng(1).uniform(size=(6, 6, 6)) < 0.08  # [d, h, w]
    x = np.where(solid, 1.0, -1.0)[None, ..., None]
    flip = np.s_[::-1]
    expected = {
        "along d": solid.any(0)[flip, flip].T,
        "along h": solid.any(1)[:, flip].T,
        "from above": solid.any(2)[flip, flip],
    }
    for name, outline in expected.items():
        seen = voxels.looks(x, *voxels.VIEWS[name])[0][np.ix_(at_cells(6), at_cells(6))]
        np.testing.assert_array_equal((seen != 255).any(-1), outline, err_msg=name)


def test_what_is_behind_is_seen_first():
    """Of two plates on one ray the nearer one shows: it is as bright as alone, and what is far is darker."""

    def brightness(*at):
        x = -np.ones((1, 16, 8, 8, 1))
        x[0, list(at), 2:6, 2:6] = 1
        seen = voxels.looks(x, *voxels.VIEWS["along d"])[0]
        return seen[(seen != 255).any(-1)].max()

    assert brightness(2) == brightness(2, 13) > brightness(13)


def test_no_solid_is_an_error():
    """Where nothing is solid, views are empty; grids of solids hold several seeds and words."""
    assert (voxels.looks(-np.ones((1, 4, 5, 6, 1)), *voxels.VIEWS["from a corner"]) == 255).all()
    x = np.ones((2, 3, 4, 5, 6, 1))
    source = Source("solids", {"x": Field((4, 5, 6, 1), "voxels")})
    assert plots.KINDS["voxels"].table(x, Picture(x, rows=("a", "b")), plots.Given(source.row["x"])).ndim == 3
    assert plots.KINDS["voxels"].picture({"a": x[0], "b": x[1]}, plots.Given(source.row["x"])).ndim == 3


def test_solids_are_a_file_for_other_tools(tmp_path):
    """Beside the picture stands an .npz that says where solids are, all of those that were drawn, by seed."""
    x = np.random.default_rng(0).normal(size=(2, 20, 4, 4, 4, 1))
    plots.samples(tmp_path / "s.png", x, Source("solids", {"x": Field((4, 4, 4, 1), "voxels")}), (3, 4))
    with np.load(tmp_path / "s.npz") as found:
        assert sorted(found) == ["seed 3", "seed 4"] and found["seed 4"].dtype == bool
        np.testing.assert_array_equal(found["seed 4"], x[1] > 0)


# Text and music


def test_letters_are_not_words(tmp_path):
    """Letters are joined, words have blanks between them, padding is left out, and each sample has its line."""
    letters = Field((3,), "tokens", np.int32, 3, ("a", "b", "\n"))
    assert text.words([0, 1, 0], letters) == "aba"
    ends = Field((4,), "tokens", np.int32, 5, ("<pad>", "<unk>", "<end>", "a", "b"))
    assert text.words([3, 4, 2, 0], ends) == "ab" and text.words([3, 2, 4, 4], ends) == "a\nbb"
    words = Field((4,), "tokens", np.int32, 3, ("<pad>", "two", "words"))
    assert text.words([1, 2, 0, 0], words) == "two words"
    assert text.words([5, 12], Field((2,), "tokens", np.int32, 20)) == "5 12"
    x = np.array([[1, 2, 0, 0], [2, 2, 2, 1]])
    plots.samples(tmp_path / "t.png", x, Source("words", {"x": words}), [0])
    assert (tmp_path / "t.txt").read_text() == "two words\nwords words words two\n"
    plots.samples(tmp_path / "l.png", np.array([[0, 2, 1], [0, 0, 0]]), Source("letters", {"x": letters}), [0])
    assert (tmp_path / "l.txt").read_text() == "a\nb\n\naaa\n"
    empty = text.written([""])
    assert (opened(tmp_path / "t.png") != page.GROUND).sum() > (empty != page.GROUND).sum() + 100


def played(file):
    """Return {(start, end, pitch, channel)} of a MIDI file, in steps, by a plain loop over its messages."""
    midi = mido.MidiFile(file)
    assert file.read_bytes()[:4] == b"MThd" and midi.ticks_per_beat == 480
    now, on, found = 0, {}, set()
    for message in midi.tracks[0]:
        now += message.time
        if message.type != "note_on":
            continue
        key = message.note, message.channel
        if message.velocity:
            assert key not in on, "begins while it sounds"
            on[key] = now
        else:
            found.add((on.pop(key) / 120, now / 120, *key))
    assert not on, "never ends"
    return found


def test_a_held_note_is_struck_again(tmp_path):
    """Voices: a pitch that stays is one note, -1 is silence, and the second sample begins after a pause."""
    first = [[60, 48], [60, 50], [60, -1], [62, 50]]
    x = np.array([first, [[-1, 0], [70, 40], [70, 40], [70, 41]]])
    x = np.concatenate([x, np.zeros((2, 4, 2), int)], -1)  # two voices more, of padding
    plots.samples(tmp_path / "m.png", x, Source("m", {"x": Field((4, 4), "series", np.int32)}), [0])
    later = 4 + music.REST
    assert played(tmp_path / "m.mid") == {
        (0, 3, 60, 0), (3, 4, 62, 0), (0, 1, 48, 1), (1, 2, 50, 1), (3, 4, 50, 1),
        (later + 1, later + 4, 70, 0), (later + 1, later + 3, 40, 1), (later + 3, later + 4, 41, 1),
    }  # fmt: skip


def test_a_roll_an_octave_off(tmp_path):
    """A roll's first key is the A at MIDI 21; keys sound together, and one that stays down is held."""
    x = np.zeros((1, 6, 88))
    x[0, 0:3, 39] = x[0, 2:6, 0] = x[0, 5, 87] = 1  # the middle C, the lowest A, the highest C
    plots.samples(tmp_path / "r.png", x, Source("r", {"x": Field((6, 88), "tokens", np.int32, 2)}), [0])
    assert played(tmp_path / "r.mid") == {(0, 3, 60, 0), (2, 6, 21, 0), (5, 6, 108, 0)}
    assert opened(tmp_path / "r.png").std() > 1


def test_tones_one_by_one(tmp_path):
    """In the records' units: waits add up, and a pitch that begins again ends first; the next sample comes after all."""
    field = Field((4, 3), "series", names=("wait", "length", "pitch"), undo=lambda x: 2 * x)
    tones = [[0, 4, 60], [0, 2, 64], [2.2, 3, 60], [1, 1, 128]]
    x = np.array([tones, [[-1, 0, 50], [0, 2, 50], [1, 1, 50], [0, 1, 52]]]) / 2
    source = Source("tones", {"x": field})
    plots.samples(tmp_path / "t.png", x, source, [0], x + 0.01)
    later = 5 + music.REST
    assert played(tmp_path / "t.mid") == {
        (0, 2, 60, 0), (0, 2, 64, 0), (2, 5, 60, 0), (3, 4, 127, 0),
        (later, later + 1, 50, 0), (later + 1, later + 2, 50, 0), (later + 1, later + 2, 52, 0),
    }  # fmt: skip
    alone = plots.KINDS["series"].picture({"": x}, plots.Given(field))
    assert opened(tmp_path / "t.png").shape[0] > 1.5 * alone.shape[0], "real ones stand above"


def test_a_roll_of_all_of_midi():
    """Its columns are MIDI's pitches."""
    x = np.zeros((3, 128), int)
    x[1:, 60] = 1
    assert music.notes(x, Field((3, 128), "series", np.int32)) == [(1, 3, 60, 0)]
    assert not music.is_music(Field((3, 128), "series"))


def test_tokens_are_taken_for_pitches():
    """Where tokens have names, these say the pitch; a rest, and what is no pitch, is silence."""
    field = Field((4, 4), "tokens", np.int32, 3, ("rest", "64", "200"))
    x = [[0, 1, 1, 1], [2, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]]
    np.testing.assert_array_equal(music.pitches(x, field)[:, 0], [-1, -1, 64, -1])
    assert music.is_music(Field((4, 88), "tokens", np.int32)) and not music.is_music(Field((4,), "tokens", np.int32))
    assert not music.is_music(Field((4, 4), "series")), "four floats are prices, not pitches"


def test_series_in_other_units(monkeypatch):
    """Series of numbers are lines below real ones, in the units that they had before a recipe."""
    monkeypatch.setattr(page, "rendered", lambda fig: fig)
    field = Field((5, 2), "series", names=("open", "close"), undo=lambda x: 100 + 10 * x)
    x = np.arange(30.0).reshape(3, 5, 2)
    given = plots.Given(field, x[:1] + 0.5)
    axes = plots.KINDS["series"].picture({"seed 0": x}, given).axes
    assert [axis.get_title() for axis in axes] == ["data", "sample 1", "sample 2", "sample 3"]
    np.testing.assert_array_equal(axes[2].lines[1].get_ydata(), 100 + 10 * x[1, :, 1])
    np.testing.assert_array_equal(axes[0].lines[0].get_ydata(), 105 + 10 * x[0, :, 0])
    assert axes[0].lines[1].get_label() == "close"


def test_series_can_be_opened_as_a_table(tmp_path):
    """FILE.csv has a line for each sample and step, in the units of the records; music has none."""
    field = Field((2, 2), "series", names=("open", "close"), undo=lambda x: 100 + 10 * x)
    source = Source("prices", {"x": field})
    plots.samples(tmp_path / "s.png", np.arange(8.0).reshape(2, 2, 2), source, [3])
    lines = (tmp_path / "s.csv").read_text().splitlines()
    assert lines == [
        "panel,sample,step,open,close", "seed 3,1,1,100,110", "seed 3,1,2,120,130", "seed 3,2,1,140,150", "seed 3,2,2,160,170"
    ]  # fmt: skip


def test_curves_of_a_run_of_series_are_not_taken_for_its_samples(tmp_path, monkeypatch):
    """Of another shape than the set's they keep their numbers, stand alone, and their columns have names."""
    drawn = []
    monkeypatch.setattr(page, "rendered", lambda fig: drawn.append(fig) or np.zeros((4, 4, 3), np.uint8))
    source = Source("prices", {"x": Field((5, 1), "series", undo=lambda x: 100 + x)})
    curves = Picture(np.arange(12.0).reshape(2, 1, 3, 2), kind="series", rows=("one", "two"), columns=("a", "b"))
    plots.table(tmp_path / "c.png", curves, source, np.zeros((4, 5, 1)))
    assert [axis.get_title() for axis in drawn[0].axes] == ["one", "two"]
    np.testing.assert_array_equal(drawn[0].axes[1].lines[1].get_ydata(), [7, 9, 11])
    assert drawn[0].axes[0].lines[1].get_label() == "b"
    own = Picture(np.zeros((1, 2, 5, 1)), rows=("seen",))
    plots.table(tmp_path / "o.png", own, source, np.zeros((4, 5, 1)))
    assert [axis.get_title() for axis in drawn[1].axes] == ["data"] * 4 + ["sample 1", "sample 2"]
    assert drawn[1].axes[5].lines[0].get_ydata()[0] == 100


def test_tables_in_other_units(monkeypatch):
    """Columns are drawn in the units that they had before a recipe."""
    monkeypatch.setattr(page, "rendered", lambda fig: fig)
    x = np.random.default_rng(0).normal(size=(50, 2))
    given = plots.Given(Field((2,), "row", undo=lambda x: 1000 + x), x)
    low, high = plots.KINDS["row"].picture({"seed 0": x}, given).axes[0].get_xlim()
    assert 990 < low < high < 1010


def test_a_map_of_labels_is_counted():
    """Labels of pixels are pictures, in which each label has its colour."""
    maps = np.repeat(np.arange(3), 16).reshape(3, 4, 4)
    seen = plots.KINDS["label"].picture({"seed 0": maps}, plots.Given(Field((4, 4), "label", np.int32, 3)))
    size = 4 * 64 + page.GAP
    assert len({tuple(seen[page.GAP + i // 2 * size, page.GAP + i % 2 * size]) for i in range(3)}) == 3


# Tables and labels


def test_a_panel_shows_another_column():
    """A column that changes moves the bars of its own panel alone."""
    rng = np.random.default_rng(0)
    real, x = rng.normal(size=(200, 4)), rng.normal(size=(100, 4))
    draw = lambda x: tables.picture({"seed 0": x}, plots.Given(Field((4,), "row"), real)).astype(int)
    changed = x.copy()
    changed[:, 2] *= 0.3
    differ = (draw(x) != draw(changed)).any(-1)
    half = differ.shape[0] // 2
    columns = np.flatnonzero(differ[:half].any(0)) / differ.shape[1]
    assert columns.size and columns.min() > 0.5 and columns.max() < 0.75  # the third of four in the first row


def test_whole_numbers_fall_between_bars():
    """A column of a few whole numbers has a bar for each; of samples off the data's range a share is named."""
    _, (axis,) = plots.figure(1)
    x = {"seed 0": np.array([0.0, 1, 1, 9])}
    tables._marginal(axis, x, np.array([0.0, 0, 1, 2]), "name")
    heights = [bar.get_height() for bar in axis.patches if isinstance(bar, Rectangle)]
    assert heights == [0.5, 0.25, 0.25] and axis.get_title() == "name (25% outside)"


def test_a_label_counts_for_another():
    """The bars of samples are as high as their shares, in the order of the labels."""
    field = Field((), "label", np.int32, 3, ("a", "b", "c"))
    picture = tables.counts({"seed 0": np.array([0] * 3 + [2] * 6)}, plots.Given(field, np.array([0, 1, 2])))
    bars = (picture.astype(int) == np.array([31, 119, 180])).all(-1)  # C0
    heights = bars[: int(0.85 * len(bars))].sum(0)  # above the legend
    runs = [list(group) for high, group in itertools.groupby(heights, lambda h: h > 0) if high]
    low, high = (np.median(run) for run in runs)
    assert len(runs) == 2 and abs(high / low - 2) < 0.1
    wide = np.flatnonzero(heights)
    assert wide[0] < 0.4 * len(heights) and wide[-1] > 0.8 * len(heights)


# What `measure` returns


@pytest.mark.parametrize(
    "shape, kind, expected",
    [((2, 3, 8, 8, 1), "image", "image"), ((2, 3, 5, 8, 8, 1), "image", "video"), ((2, 3, 2), "points", "points"),
     ((2, 3, 8, 8, 8, 1), "voxels", "voxels"), ((2, 3, 8, 8, 1), "points", "image")],
)  # fmt: skip
def test_a_picture_of_another_kind(shape, kind, expected):
    """Without a name, what has the rank of the set's x is of its kind, else images and clips; with one, it is that."""
    field = Field(shape[2:] if kind == expected else (2,) * {"image": 3, "points": 1}[kind], kind)
    assert Picture(np.zeros(shape)).kind_beside(field) == expected
    assert Picture(np.zeros(shape), kind="row").kind_beside(field) == "row"


def test_a_list_is_taken_for_a_picture():
    """An array that is neither is an error which names its shape."""
    with pytest.raises(ValueError, match=r"\(7,\) is neither a number nor a picture"):
        Picture(np.zeros(7)).kind_beside(Field((8, 8, 1), "image"))


def test_words_are_lost_inside_jit():
    """A Picture comes out of jit, over seeds too, with its titles, and its captions are the names of the labels."""
    names = Field((), "label", np.int32, 2, ("cat", "dog"))

    @jax.jit
    def measured(keys):
        def one(key):
            y = jnp.arange(6).reshape(2, 3) % 2
            return Picture(jnp.zeros((2, 3, 8, 8, 1)), rows=("up", "down"), about=y, field=names)

        return jax.lax.map(one, keys)

    found = jax.tree.map(lambda a: np.asarray(a)[1], measured(jnp.arange(2)))
    assert found.rows == ("up", "down") and found.captions == ["cat", "dog"] * 3


@pytest.mark.parametrize("kind", ["points", "row", "series", "tokens", "label", "video"])
def test_pictures_of_every_kind(kind, tmp_path):
    """Whatever a run's own kind is, `measure` may return pictures of any."""
    shape = {"points": (2,), "row": (3,), "series": (7, 2), "tokens": (5,), "label": (), "video": (4, 8, 8, 3)}[kind]
    x = np.random.default_rng(0).uniform(-1, 1, (2, 6, *shape))
    x = (x > 0).astype(int) if kind in ("tokens", "label") else x
    source = Source("digits", {"x": Field((8, 8, 1), "image")})
    plots.table(tmp_path / "p.png", Picture(x, kind=kind, rows=("first", "second")), source)
    assert opened(tmp_path / "p.png").std() > 1
    assert (tmp_path / "p.gif").exists() == (kind == "video") and (tmp_path / "p.txt").exists() == (kind == "tokens")


# A run's pictures


def given_splits(state, key, train, test):
    walk = jnp.broadcast_to(jnp.linspace(-1, 1, 5).reshape(1, 5, 1, 1, 1), (2, 5, 8, 8, 1))
    return {"sets": jnp.float32(bool(train) + 2 * bool(test)), "walks": Picture(walk, rows=("a", "b"))}


def test_nothing_is_drawn_without_a_test_split(tmp_path):
    """On a toy `measure` is handed {} twice, and its walks are drawn."""
    _, results = trained(tmp_path / "run", "--steps=1", measure=lambda cfg, *given: given_splits(*given))
    assert results["sets"] == 0 and (tmp_path / "run" / "samples" / "walks-final.png").exists()


@pytest.mark.long
def test_a_streamed_set_is_not_measured(tmp_path):
    """Where the training split is streamed, the test split is there, and the other way the numbers are the same."""
    measure = lambda cfg, *given: given_splits(*given)
    _, streamed = trained(tmp_path / "a", "--steps=1", "--stream", of=DIGITS, measure=measure)
    _, resident = trained(tmp_path / "b", "--steps=1", of=DIGITS, measure=measure)
    assert (streamed["sets"], resident["sets"]) == (2, 3)
    assert opened(tmp_path / "a/samples/walks-final.png").std() > 1


@pytest.mark.long
def test_the_last_evaluation_is_made_twice(tmp_path, monkeypatch):
    """Where --eval-every divides --steps, "final" is the last one: one call, the same files, the scores of its row."""
    calls, score = [], evaluate.Evaluator.__call__
    monkeypatch.setattr(
        evaluate.Evaluator, "__call__", lambda self, *given: (calls.append(given[2]), score(self, *given))[1]
    )
    out = tmp_path / "run"
    _, results = trained(out, "--steps=6", "--eval-every=3", measure=lambda cfg, *given: given_splits(*given))
    assert calls == [3, 6]
    samples = out / "samples"
    assert {p.name for p in samples.iterdir()} == {
        f"{kind}{name}.png" for kind in ("", "walks-") for name in ("00000003", "00000006", "final")
    }  # fmt: skip
    for kind in ("", "walks-"):
        assert (samples / f"{kind}final.png").read_bytes() == (samples / f"{kind}00000006.png").read_bytes()
    last = rows(out)[-1]
    assert last["step"] == 6 and all(last[name] == results[name] for name in ("modes", "diversity", "sets"))
    assert len(list(frames(out / "samples.gif"))) == 2


def test_the_animation_jumps(tmp_path):
    """Of 100 pictures 60 at even distances are shown in order, first and last among them, none after this step."""
    folder = tmp_path / "samples"
    folder.mkdir()
    for step in range(1, 104):
        page.save(folder / f"{step:08d}.png", np.full((20 + 10 * (step == 50), 160, 3), 2 * step, np.uint8))
    page.save(folder / "walks-00000001.png", np.full((20, 160, 3), 255, np.uint8))
    page.save(folder / "final.png", np.full((20, 160, 3), 255, np.uint8))
    moving.animation(tmp_path, 100, ended=False)
    shown = list(frames(tmp_path / "samples.gif"))
    assert len(shown) == moving.FRAMES and len({frame.shape for frame in shown}) == 1
    greys = [frame[30, 30, 0] for frame in shown]
    assert abs(greys[0] - 2) <= 1 and abs(greys[-1] - 200) <= 1 and (np.diff(greys) > 0).all()
    words = [frame[:18].tobytes() for frame in shown]
    assert len(set(words)) == 60  # the step is on each
    moving.animation(tmp_path, 104, ended=True)
    assert abs(list(frames(tmp_path / "samples.gif"))[-1][30, 30, 0] - 255) <= 1


def test_one_picture_is_an_animation(tmp_path):
    """Where there is but one picture, nothing moves."""
    trained(tmp_path / "run", "--steps=1")
    assert not (tmp_path / "run" / "samples.gif").exists()


def test_a_picture_that_can_not_be_written(tmp_path):
    """It ends the run in a line that names it, and what was saved stays."""
    out = tmp_path / "run"
    (out / "samples" / "00000002.png").mkdir(parents=True)  # in the way
    with pytest.raises(UserError, match=r"00000002\.png: Is a directory\. Free it, or choose another --out"):
        trained(out, "--steps=2", "--eval-every=2")


def test_nobody_listens(monkeypatch):
    """A broken pipe under the live line doesn't end the run."""

    class Broken:
        def write(self, *_):
            raise BrokenPipeError

        flush = write

    monkeypatch.setattr(sys, "stderr", Broken())
    log.tell("into the void")


def test_real_data_of_points_is_drawn():
    """Only sets that are drawn beside real data read any of it: points without modes, tables, labels."""
    assert plots.reals(data.load("ring8")) is None
    ring = dataclasses.replace(data.load("ring8"), modes=None)
    assert plots.reals(ring).shape == (2500, 2)


def test_rows_are_written_as_csv(tmp_path):
    """In the units of the records, under the columns' names; what is whole in data is rounded, what has words is said so."""
    values = (), (), ("tea, green", "a cup")
    field = Field((3,), "row", names=("price", "pieces", "thing"), undo=lambda x: x * [10, 2, 1], values=values)
    x, real = np.array([[0.15, 1.2, 0.9], [0.25, -2, 0]]), np.array([[0.1, 1.00002, 0], [0.33333, 2, 1]])
    tables.files(tmp_path / "a.png", {"seed 0": x}, plots.Given(field, real))
    assert (tmp_path / "a.csv").read_text() == 'price,pieces,thing\n1.5,2,a cup\n2.5,-4,"tea, green"\n'
    plain = plots.Given(Field((3,), "row"), real)
    tables.files(tmp_path / "b.png", {"seed 0": x[:1], "seed 1": x[1:]}, plain)
    told = (tmp_path / "b.csv").read_text().splitlines()
    assert told == ["of,column 1,column 2,column 3", "seed 0,0.15,1,1", "seed 1,0.25,-2,0"]
