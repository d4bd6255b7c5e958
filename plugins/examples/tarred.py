"""Images in a tar archive, read one by one: a store that need not be unpacked."""

from pathlib import Path

from aepipe import BadInput, hookimpl


@hookimpl
def register_readers(register):
    register(tarred)


def tarred(path):
    "PNG images of one size in an archive, in the order of their names."
    return Tarred(path)


tarred.endings = (".tar",)


class Tarred:
    chunk = 64  # neighbours are read together

    def __init__(self, path):
        import tarfile

        try:
            with tarfile.open(path) as archive:
                found = sorted(
                    (each.name, each.offset_data, each.size) for each in archive if each.name.endswith(".png")
                )
        except (OSError, tarfile.TarError) as error:
            raise BadInput(f"{path} is no archive: {error}", "give a tar of PNG images, not compressed") from None
        if not found:
            raise BadInput(f"{path} holds no .png", "give a tar of PNG images")
        self.path, self.places = path, [(offset, size) for _, offset, size in found]
        self.shape = self.read([0]).shape[1:]

    def load(self, split):
        return self

    def __len__(self):
        return len(self.places)

    def read(self, indices):
        import io

        import numpy as np
        from PIL import Image

        images = []
        with Path(self.path).open("rb") as file:
            for index in indices:
                offset, size = self.places[index]
                file.seek(offset)
                images.append(np.asarray(Image.open(io.BytesIO(file.read(size)), formats=["PNG"]).convert("L")))
        return np.stack(images)[:, None]
