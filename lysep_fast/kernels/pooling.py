"""Average pooling kernels: mean over cells of ``ph x pw`` pixels, and its transposed map.

Images lie in the rows of a C-contiguous block, channel after channel; here every channel of every
sample is an image of its own.  Rows and columns behind the last whole cell are left out.
"""

from __future__ import annotations

from ._jit import kernel

__all__ = ["pool_images", "spread_images"]


@kernel()
def _pool_runs(f, count, cell, scale, s):
    """Write the scaled sums of runs of `cell` values; fixed lengths let LLVM vectorise."""
    if cell == 1:
        for j in range(count):
            s[j] = f[j] * scale
    elif cell == 2:
        for j in range(count):
            s[j] = (f[2 * j] + f[2 * j + 1]) * scale
    elif cell == 3:
        for j in range(count):
            s[j] = (f[3 * j] + f[3 * j + 1] + f[3 * j + 2]) * scale
    else:
        for j in range(count):
            total = f[j * cell]
            for q in range(1, cell):
                total += f[j * cell + q]
            s[j] = total * scale


@kernel()
def _scale_slopes(d, images, geometry, scale):
    """Divide the slopes by the size of a cell and set those outside of all cells to 0."""
    _, height, width, ph, pw, rows, columns = geometry
    used = columns * pw
    for j in range(d.size):
        d[j] *= scale
    if used == width and rows * ph == height:
        return
    for image in range(images):
        base = image * height * width
        for i in range(rows * ph):
            d[base + i * width + used : base + (i + 1) * width] = 0
        d[base + rows * ph * width : base + height * width] = 0


@kernel()
def pool_images(F, D, slopes, geometry, S):
    """Average the cells of the images in `F` into `S`; scale the slopes alike.

    Parameters
    ----------
    F : ndarray, shape (rows, n_inputs)
        Feature values; used as scratch and overwritten.
    D : ndarray, shape (rows, n_inputs)
        Slopes, divided by the size of a cell in place and set to 0 outside of all cells.
    slopes : bool
        Whether to change `D`.
    geometry : tuple of int
        (channels, height, width, cell height, cell width, pooled height, pooled width).
    S : ndarray, shape (rows, n_outputs)
        Overwritten with the means.
    """
    channels, height, width, ph, pw, rows, columns = geometry
    f, d, s = F.reshape(F.size), D.reshape(D.size), S.reshape(S.size)
    scale = F.dtype.type(1.0 / (ph * pw))
    images, used = F.shape[0] * channels, columns * pw
    # The sums over the rows of the cells gather at the front of f, where they are one long run.
    position = 0
    for image in range(images):
        for i in range(rows):
            start = image * height * width + i * ph * width
            target, top = f[position : position + used], f[start : start + used]
            if ph == 2:
                below = f[start + width : start + width + used]
                for j in range(used):
                    target[j] = top[j] + below[j]
            else:
                for j in range(used):
                    target[j] = top[j]
                for r in range(1, ph):
                    below = f[start + r * width : start + r * width + used]
                    for j in range(used):
                        target[j] += below[j]
            position += used
    _pool_runs(f, images * rows * columns, pw, scale, s)
    if slopes:
        _scale_slopes(d, images, geometry, scale)


@kernel()
def _repeat(g, cell, wide):
    """Write every value `cell` times."""
    if cell == 2:
        for j in range(g.size):
            wide[2 * j] = g[j]
            wide[2 * j + 1] = g[j]
    elif cell == 3:
        for j in range(g.size):
            wide[3 * j] = g[j]
            wide[3 * j + 1] = g[j]
            wide[3 * j + 2] = g[j]
    else:
        for j in range(g.size):
            for q in range(j * cell, (j + 1) * cell):
                wide[q] = g[j]


@kernel()
def spread_images(G, D, geometry, wide, out):
    """Multiply every slope by the value of its cell: pull `G` back through pooling and slopes.

    Parameters
    ----------
    G : ndarray, shape (rows, n_outputs)
        Gradient in the pooled features.
    D : ndarray, shape (rows, n_inputs)
        Slopes as `pool_images` leaves them.
    geometry : tuple of int
        As in `pool_images`.
    wide : ndarray, shape (pooled height * pooled width * cell width,)
        Scratch: the values of one image, repeated along the rows.
    out : ndarray, shape (rows, n_inputs)
        Overwritten; 0 outside of all cells.  It may be `D`.
    """
    channels, height, width, ph, pw, rows, columns = geometry
    g, d, o = G.reshape(G.size), D.reshape(D.size), out.reshape(out.size)
    used = columns * pw
    for image in range(G.shape[0] * channels):
        base, source = image * height * width, image * rows * columns
        _repeat(g[source : source + rows * columns], pw, wide)
        for i in range(rows):
            values = wide[i * used : (i + 1) * used]
            for r in range(i * ph, (i + 1) * ph):
                start = base + r * width
                row, slopes = o[start : start + width], d[start : start + used]
                for j in range(used):
                    row[j] = values[j] * slopes[j]
                if used < width:
                    row[used:] = 0
        o[base + rows * ph * width : base + height * width] = 0
