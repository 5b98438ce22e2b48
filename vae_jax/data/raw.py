"""Raw files to arrays: one pure function a format, from {file name: path} to {split: {column: array}}.

The column 'image' is uint8 [n, h, w, 1]; every other column is an integer [n]. Nothing here is ever unpickled.
"""

import gzip
import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

Columns = dict[str, np.ndarray]
Splits = dict[str, Columns]
Paths = Mapping[str, Path]


def permutation(n: int) -> np.ndarray:
    """The fixed permutation of n rows: seed 0 of numpy's legacy generator, whose stream NEP 19 freezes for ever."""
    return np.random.RandomState(0).permutation(n)


def one_line(error: BaseException) -> str:
    """What an error says, in one line of at most 200 characters."""
    return ' '.join(str(error).split())[:200] or type(error).__name__


def digest(splits: Splits) -> str:
    """SHA-256, in hex, of the decoded pixels and the other columns, split by split in the order given."""
    total = hashlib.sha256()
    for columns in splits.values():
        for name in sorted(columns):
            values = columns[name]
            total.update(np.ascontiguousarray(values, np.uint8 if name == 'image' else '<i4').data)
    return total.hexdigest()


def parse_idx(content: bytes) -> np.ndarray:
    """The array of an idx file of unsigned bytes: 0, 0, 8, rank, then big-endian sizes, then the values."""
    if len(content) < 4 or content[:3] != b'\0\0\x08':
        raise ValueError('not an idx file of unsigned bytes')
    rank = content[3]
    shape = tuple(np.frombuffer(content, '>u4', rank, 4).tolist())
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * rank)
    if values.size != np.prod(shape, dtype=np.int64):
        raise ValueError(f'an idx file of shape {shape} holds {values.size} values')
    return values.reshape(shape)


def parse_amat(content: bytes, pixels: int = 784) -> np.ndarray:
    """Rows [n, pixels] of 0 and 1 from Larochelle's text: a line an image, single spaces between the digits."""
    text = np.frombuffer(content, np.uint8).reshape(-1, 2 * pixels)
    digits, gaps = text[:, ::2] - ord('0'), text[:, 1::2]
    if digits.max(initial=0) > 1 or (gaps[:, :-1] != ord(' ')).any() or (gaps[:, -1] != ord('\n')).any():
        raise ValueError(f'not {pixels} binary digits a line with single spaces')
    return digits


def amat_text(pixels: np.ndarray) -> bytes:
    """The inverse of `parse_amat`."""
    text = np.full((len(pixels), 2 * pixels.shape[1]), ord(' '), np.uint8)
    text[:, ::2] = pixels + ord('0')
    text[:, -1] = ord('\n')
    return text.tobytes()


def mnist(paths: Paths) -> Splits:
    """The four idx files that MNIST and Fashion-MNIST name alike."""

    def split(prefix: str) -> Columns:
        image = parse_idx(gzip.decompress(paths[f'{prefix}-images-idx3-ubyte.gz'].read_bytes()))
        label = parse_idx(gzip.decompress(paths[f'{prefix}-labels-idx1-ubyte.gz'].read_bytes()))
        return {'image': image[..., None], 'label': label}

    return {'train': split('train'), 'test': split('t10k')}


def binarized_mnist(paths: Paths) -> Splits:
    """Larochelle's three .amat files."""
    files = {'train': 'train', 'validation': 'valid', 'test': 'test'}
    return {
        split: {'image': parse_amat(paths[f'binarized_mnist_{file}.amat'].read_bytes()).reshape(-1, 28, 28, 1)}
        for split, file in files.items()
    }


def unpack_binarized_mnist(paths: Paths, folder: Path) -> dict[str, Path]:
    """Writes the .amat texts that the packed copy stands for into `folder`, so that their checksums can be held."""
    written = {}
    with np.load(paths['binarized_mnist.npz'], allow_pickle=False) as packed:
        for split in ('train', 'valid', 'test'):
            name = f'binarized_mnist_{split}.amat'
            written[name] = folder / name
            written[name].write_bytes(amat_text(np.unpackbits(packed[split], axis=1)))
    return written


def area_average(ink: np.ndarray, size: int) -> np.ndarray:
    """Square images [n, s, s] of 0 and 1 averaged over exact areas to uint8 [n, size, size], all ink = 255.

    In units of 1/size of a source pixel every overlap is an integer, so that the result is exact and rounds half up.
    """
    side = ink.shape[1]
    edges = np.arange(size + 1) * side
    source = np.arange(side) * size
    overlap = np.minimum(edges[1:, None], source + size) - np.maximum(edges[:-1, None], source)
    weights = np.maximum(overlap, 0).astype(np.float32)
    area = side * side
    out = np.empty((len(ink), size, size), np.uint8)
    for at in range(0, len(ink), 1024):
        # Sums of integers below 2^24: the float32 product is exact in any order of summation.
        sums = (weights @ ink[at : at + 1024].astype(np.float32) @ weights.T).astype(np.int64)
        out[at : at + 1024] = (2 * 255 * sums + area) // (2 * area)
    return out


def _omniglot(bits: np.ndarray, evaluation: np.ndarray, factors: Columns) -> Splits:
    image = area_average(bits, 28)[..., None]
    columns = {'image': image, **{name: values.astype(np.int32) for name, values in factors.items()}}
    rows = {'train': ~evaluation, 'test': evaluation}
    return {split: {name: values[keep] for name, values in columns.items()} for split, keep in rows.items()}


def omniglot(paths: Paths) -> Splits:
    """The packed 105 x 105 bits; background set = train, evaluation set = test, label = the character."""
    with np.load(paths['omniglot_105x105.npz'], allow_pickle=False) as packed:
        bits = np.unpackbits(packed['images'], axis=1, count=105 * 105).reshape(-1, 105, 105)
        factors = {'label': packed['character'], 'alphabet': packed['alphabet'], 'drawer': packed['drawer']}
        return _omniglot(bits, packed['is_evaluation'], factors)


def omniglot_zips(paths: Paths) -> Splits:
    """The two original archives of 1-bit PNG files, ordered by character and drawer: both are in the file's name."""
    from PIL import Image

    found = []
    for set_name in ('images_background', 'images_evaluation'):
        with zipfile.ZipFile(paths[f'{set_name}.zip']) as archive:
            for member in archive.namelist():
                parts = member.split('/')
                if parts[0] == set_name and member.endswith('.png'):
                    character, drawer = parts[-1].removesuffix('.png').split('_')
                    with Image.open(io.BytesIO(archive.read(member))) as png:
                        paper = np.asarray(png.convert('1'))
                    found.append((int(character), int(drawer), parts[1], set_name, ~paper))
    found.sort(key=lambda row: row[:2])
    characters, drawers, alphabets, sets, ink = zip(*found, strict=True)
    alphabet = np.unique(alphabets, return_inverse=True)[1]
    factors = {'label': np.array(characters) - 1, 'alphabet': alphabet, 'drawer': np.array(drawers) - 1}
    return _omniglot(np.stack(ink), np.array([name == 'images_evaluation' for name in sets]), factors)


def caltech101_silhouettes(paths: Paths) -> Splits:
    """Marlin's split 1, packed: 0 is the object and 1 the background, as he has it."""
    with np.load(paths['caltech101_silhouettes_28_split1.npz'], allow_pickle=False) as packed:
        return {
            split: {
                'image': np.unpackbits(packed[file], axis=1).reshape(-1, 28, 28, 1),
                'label': packed[f'{file}_labels'],
            }
            for split, file in {'train': 'train', 'validation': 'val', 'test': 'test'}.items()
        }


def caltech101_silhouettes_mat(paths: Paths) -> Splits:
    """Marlin's own file, whose images lie column by column and whose labels begin at 1."""
    from scipy.io import loadmat

    file = loadmat(paths['caltech101_silhouettes_28_split1.mat'])
    return {
        split: {
            'image': file[f'{name}_data'].astype(np.uint8).reshape(-1, 28, 28, 1).swapaxes(1, 2),
            'label': file[f'{name}_labels'].reshape(-1).astype(np.int32) - 1,
        }
        for split, name in {'train': 'train', 'validation': 'val', 'test': 'test'}.items()
    }


def _divided(columns: Columns, sizes: Mapping[str, int]) -> Splits:
    ends = np.cumsum(list(sizes.values()))[:-1]
    parts = np.split(permutation(len(columns['image'])), ends)
    return {split: {name: column[part] for name, column in columns.items()} for split, part in zip(sizes, parts)}


# Neither of the two has an official split: these are parts of the fixed permutation, in this order.
FREY = {'train': 1565, 'validation': 200, 'test': 200}
OLIVETTI = {'train': 320, 'validation': 40, 'test': 40}


def frey_faces(paths: Paths) -> Splits:
    """The packed frames; neighbouring frames are near copies and fall on both sides of the split."""
    with np.load(paths['frey_faces.npz'], allow_pickle=False) as packed:
        return _divided({'image': packed['images'][..., None]}, FREY)


def frey_faces_mat(paths: Paths) -> Splits:
    """Roweis' own file: ff [560, 1965]."""
    from scipy.io import loadmat

    return _divided({'image': loadmat(paths['frey_rawface.mat'])['ff'].T.reshape(-1, 28, 20, 1)}, FREY)


def olivetti_faces(paths: Paths) -> Splits:
    """The packed faces; label = the person."""
    with np.load(paths['olivetti_faces.npz'], allow_pickle=False) as packed:
        return _divided({'image': packed['images'][..., None], 'label': packed['person']}, OLIVETTI)


def olivetti_faces_mat(paths: Paths) -> Splits:
    """Roweis' own file: faces [4096, 400], column by column, ten in a row of each person."""
    from scipy.io import loadmat

    faces = loadmat(paths['olivettifaces.mat'])['faces'].T.reshape(-1, 64, 64, 1).swapaxes(1, 2)
    return _divided({'image': faces.astype(np.uint8), 'label': np.arange(len(faces)) // 10}, OLIVETTI)
