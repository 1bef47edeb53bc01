"""One split of a prepared TFDS set: its records, parsed but with no picture decoded, and their name in the cache."""

import dataclasses
import functools
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gan_jax.data import cache
from gan_jax.errors import UserError, first_line, printable

DECODING = 2  # raise it where other bits come out of the same records: nothing that was cached before is read then


@dataclasses.dataclass(frozen=True)
class Split:
    """The records of one split, or a part of one ("train[:80%]"), of a set that TFDS has prepared."""

    name: str  # of the set
    split: str
    builder: Any
    again: str  # the command that prepares it

    @functools.cached_property
    def pieces(self) -> list[tuple[str, int, int]]:
        """The (file, first record, record after the last) that the split is made of."""
        found = self.builder.info.splits[self.split].file_instructions
        # of train[50%:10%] TFDS takes fewer than none
        return [(str(part.filename), part.skip, part.skip + part.take) for part in found if part.take > 0]

    @property
    def n(self) -> int:
        """How many records there are."""
        return sum(stop - start for _, start, stop in self.pieces)

    @functools.cached_property
    def records(self) -> Any:
        """The records' bytes, by random access."""
        import tensorflow_datasets as tfds

        try:
            raw = tfds.decode.DeserializeMethod.RAW_BYTES
            records = self.builder.as_data_source(split=self.split, deserialize_method=raw)
            self._check_counts()
            return records
        except NotImplementedError:
            raise UserError(
                f"{self.name} in {self.builder.data_path} is prepared as {self.builder.info.file_format.value}, which "
                f"has no random access.\nPrepare it as array_record: {self.again}"
            ) from None
        except UserError:
            raise
        except Exception as error:
            raise self.unreadable(error) from None

    def _check_counts(self):
        """Raise UserError where a file holds more or fewer records than dataset_info.json says."""
        from array_record.python.array_record_module import ArrayRecordReader

        splits = self.builder.info.splits.values()
        said = {str(file): n for s in splits for file, n in zip(s.filepaths, s.shard_lengths, strict=True)}
        for file in dict.fromkeys(file for file, *_ in self.pieces):
            reader = ArrayRecordReader(file)
            n = reader.num_records()
            reader.close()
            if n != said[file]:
                raise UserError(
                    f"{file} holds {n} records; {self.name}'s dataset_info.json says {said[file]}.\n"
                    f"Prepare it again: {self.again}"
                )

    def rows(self, indices: Sequence[int], features: dict, convert: Callable[[dict], Any]) -> Iterator:
        """Yield convert({path: value}) of these records, pictures as the bytes of their files.

        features: {path: `Feature`}. Raises a UserError that names the record where one can't be read.
        """
        try:
            raw = self.records.__getitems__(indices)
        except UserError:
            raise
        except Exception as error:
            raise self.unreadable(error) from None
        parse = _parser(self.builder, tuple(features.items()))
        for i, record in zip(indices, raw, strict=True):
            try:
                yield convert(parse(record))
            except UserError:
                raise
            except Exception as error:
                raise UserError(
                    f"record {i} of {self.name}, split {self.split}, can't be read: {first_line(error)}\n"
                    f"If the files are damaged, prepare it again: {self.again}"
                ) from None

    def unreadable(self, error: Exception) -> UserError:
        """Return what to say where the files are missing or damaged."""
        where = f"{self.name} in {printable(cache.original(str(self.builder.data_path)))}"
        return UserError(f"{where} can't be read: {first_line(error)}\nPrepare it again: {self.again}")

    def each(self, path: str, features: dict, convert: Callable) -> Iterator:
        """Yield convert(value) of one feature of each record, in the order of the records."""
        for start in range(0, self.n, 1000):
            indices = range(start, min(start + 1000, self.n))
            yield from self.rows(indices, {path: features[path]}, lambda found: convert(found[path]))

    def fingerprint(self, *what: Any) -> str:
        """Return the name in the cache of what depends on the split's records and on the repr of `what` alone."""
        place, pieces = cache.original(str(self.builder.data_path)), [(cache.original(f), *n) for f, *n in self.pieces]
        digest = hashlib.blake2b(repr((DECODING, place, pieces, what)).encode(), digest_size=8)
        for file in ("dataset_info.json", "features.json"):
            digest.update(_bytes(Path(self.builder.data_path) / file))
        try:
            for file, *_ in self.pieces:
                stat = os.stat(file)
                digest.update(f"{stat.st_size} {stat.st_mtime_ns}".encode())
        except OSError as error:
            raise self.unreadable(error) from None
        return f"{self.name.replace('/', '-')}-{digest.hexdigest()}"

    def learnt(self, what: tuple, make: Callable[[], Any]) -> Any:
        """Return what `make` finds in the records, a value of JSON that the cache keeps under the name of `what`."""
        as_array = lambda: {"json": np.frombuffer(json.dumps(make()).encode(), np.uint8)}
        name = f"learnt/{self.fingerprint(*what)}"
        return json.loads(cache.arrays(name, as_array, lambda found: set(found) == {"json"})["json"].tobytes())


def overlap(a: Split, b: Split | None = None) -> bool:
    """Return whether two splits of one set have a record in common; of one alone, whether it has one twice."""
    pairs = itertools.product(a.pieces, b.pieces) if b else itertools.combinations(a.pieces, 2)
    return any(p[0] == q[0] and max(p[1], q[1]) < min(p[2], q[2]) for p, q in pairs)


def _bytes(file):
    return file.read_bytes() if file.exists() else b""


class Feature(NamedTuple):
    """A feature that is no dict of others: the keys that lead to it in a record, and what TFDS knows of it."""

    keys: tuple[str, ...]
    is_picture: bool  # or a clip: stored as files, which we decode ourselves
    connector: Any


@functools.cache
def _parser(builder, features: tuple[tuple[str, Feature], ...]) -> Callable[[bytes], dict]:
    """Return the function: bytes of a record -> {path: value} of these features alone."""
    import tensorflow_datasets as tfds

    class Stored(tfds.decode.SkipDecoding):
        def decode_batch_example_np(self, values):  # of the pictures of a clip
            return values

    decoders = {}
    for _, feature in features:
        if feature.is_picture:
            inner = functools.reduce(lambda inner, key: inner.setdefault(key, {}), feature.keys[:-1], decoders)
            inner[feature.keys[-1]] = Stored()
    # these alone are decoded: beside them may be pictures of any format, which TFDS would hand to any program
    asked: dict = {}
    for _, feature in features:
        below = functools.reduce(lambda inner, key: inner.setdefault(key, {}), feature.keys[:-1], asked)
        below[feature.keys[-1]] = True
    partial = _only(builder.info.features, asked)

    def parse(record):
        found = partial.deserialize_example_np(record, decoders=decoders)
        return {path: functools.reduce(lambda inner, key: inner[key], f.keys, found) for path, f in features}

    return parse


def _only(features, asked: dict):
    """Return the FeaturesDict of the features that are asked for, {key: True, or a dict of the same below it}."""
    import tensorflow_datasets as tfds

    def one(feature, below):
        if below is True:
            return feature
        if type(feature) is tfds.features.Sequence:
            return tfds.features.Sequence(_only(feature.feature, below), length=feature._length)
        return _only(feature, below)

    return tfds.features.FeaturesDict({key: one(features[key], below) for key, below in sorted(asked.items())})


def flat(builder: Any) -> dict[str, Feature]:
    """Return the features of a set by path ("objects/bbox"), sorted: TFDS lists them in an order of each process."""
    import tensorflow_datasets as tfds

    found = {}

    def walk(features, keys, around):
        for key, feature in sorted(features.items()):
            if type(feature) is tfds.features.FeaturesDict:
                walk(feature, (*keys, key), around)
            elif type(feature) is tfds.features.Sequence and type(feature.feature) is tfds.features.FeaturesDict:
                walk(feature.feature, (*keys, key), tfds.features.Sequence)
            else:
                picture = isinstance(getattr(feature, "feature", feature), tfds.features.Image)
                found.setdefault("/".join((*keys, key)), Feature((*keys, key), picture, around(feature)))

    walk(builder.info.features, (), lambda feature: feature)
    return found
