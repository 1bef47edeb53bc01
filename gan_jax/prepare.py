"""`python -m gan_jax.prepare NAME`: download a TFDS set and prepare it as array_record (needs TensorFlow, once)."""

import os
import sys


def main(argv=None):
    names = sys.argv[1:] if argv is None else argv
    if not names or names[0].startswith("-"):
        print("usage: python -m gan_jax.prepare NAME [NAME ...]\n" + __doc__, file=sys.stderr)
        return 0 if names[:1] in (["-h"], ["--help"]) else 2
    import tensorflow_datasets as tfds

    for name in names:
        try:
            builder = tfds.builder(name, data_dir=os.environ.get("TFDS_DATA_DIR"), file_format="array_record")
            builder.download_and_prepare()
        except Exception as error:
            line = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
            print(f"{name} could not be prepared: {line}\nIs there a network, and TensorFlow?", file=sys.stderr)
            return 2
        print(f"{name} is ready in {builder.data_path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
