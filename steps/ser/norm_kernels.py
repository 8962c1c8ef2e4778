"""Triton kernels of batch normalization, the addition of a residual, and ReLU; ser.fused_norm calls them.

A map that holds the channels of one position side by side is read as rows of `width` numbers, so that a column is
always the same channel, `column % channels`. A program adds up its rows and leaves a partial sum of each column; a
second kernel adds those up in a fixed order, so results repeat exactly.
"""

import triton
import triton.language as tl


@triton.jit
def _tile(first, elements, width, BLOCK: tl.constexpr, ROWS: tl.constexpr):
    """Places of a tile of rows in memory, and which of them exist."""
    column = tl.arange(0, BLOCK)[None, :]
    place = (first + tl.arange(0, ROWS)[:, None]) * width + column
    return place, (column < width) & (place < elements)


@triton.jit
def _leave(partial, first, second, BLOCK: tl.constexpr):
    """Store two partial sums `[ROWS, BLOCK]` of a program in `[2, BLOCK, programs]`."""
    place = partial + tl.arange(0, BLOCK) * tl.num_programs(0) + tl.program_id(0)
    tl.store(place, tl.sum(first, 0))
    tl.store(place + BLOCK * tl.num_programs(0), tl.sum(second, 0))


@triton.jit
def _gather(partial, programs, width, channels, BLOCK: tl.constexpr, PROGRAMS: tl.constexpr):
    """The two sums of this program's channel, over all columns and programs of the kernel before."""
    program = tl.arange(0, PROGRAMS)
    first = tl.zeros([PROGRAMS], tl.float32)
    second = tl.zeros([PROGRAMS], tl.float32)
    for column in range(tl.program_id(0), width, channels):
        place = partial + column * programs + program
        first += tl.load(place, mask=program < programs, other=0)
        second += tl.load(place + BLOCK * programs, mask=program < programs, other=0)
    return tl.sum(first), tl.sum(second)


@triton.jit
def reduce_moments(x, running_mean, partial, elements, rows, width, channels, BLOCK: tl.constexpr, ROWS: tl.constexpr):
    """Sums of deviations from the running mean, which keeps them small, and of their squares."""
    near = tl.load(running_mean + tl.arange(0, BLOCK) % channels)[None, :]
    deviations = tl.zeros([ROWS, BLOCK], tl.float32)
    squares = tl.zeros([ROWS, BLOCK], tl.float32)
    first = tl.program_id(0) * rows
    for start in range(0, rows, ROWS):
        place, inside = _tile(first + start, elements, width, BLOCK, ROWS)
        deviation = tl.where(inside, tl.load(x + place, mask=inside, other=0).to(tl.float32) - near, 0)
        deviations += deviation
        squares += deviation * deviation
    _leave(partial, deviations, squares, BLOCK)


@triton.jit
def finish_moments(partial, weight, bias, running_mean, running_var, moments, eps, momentum, count, programs, width,
                   channels, BLOCK: tl.constexpr, PROGRAMS: tl.constexpr):
    """Of one channel: mean, 1 / deviation, and the factor and summand that normalize; running statistics."""
    channel = tl.program_id(0)
    deviations, squares = _gather(partial, programs, width, channels, BLOCK, PROGRAMS)
    near = tl.load(running_mean + channel)
    delta = deviations / count
    mean = near + delta
    variance = tl.maximum(squares / count - delta * delta, 0)
    scale = 1 / tl.sqrt(variance + eps)
    factor = tl.load(weight + channel) * scale
    tl.store(moments + channel, mean)
    tl.store(moments + channels + channel, scale)
    tl.store(moments + 2 * channels + channel, factor)
    tl.store(moments + 3 * channels + channel, tl.load(bias + channel) - mean * factor)
    tl.store(running_mean + channel, near + momentum * delta)
    unbiased = variance * (count / tl.maximum(count - 1, 1))
    old = tl.load(running_var + channel)
    tl.store(running_var + channel, old + momentum * (unbiased - old))


@triton.jit
def normalize(x, residual, moments, y, elements, width, channels, HAS_RESIDUAL: tl.constexpr, BLOCK: tl.constexpr,
              ROWS: tl.constexpr):
    place, inside = _tile(tl.program_id(0) * ROWS, elements, width, BLOCK, ROWS)
    channel = tl.arange(0, BLOCK) % channels
    factor = tl.load(moments + 2 * channels + channel)[None, :]
    summand = tl.load(moments + 3 * channels + channel)[None, :]
    value = tl.load(x + place, mask=inside, other=0).to(tl.float32) * factor + summand
    if HAS_RESIDUAL:
        value += tl.load(residual + place, mask=inside, other=0).to(tl.float32)
    tl.store(y + place, tl.maximum(value, 0), mask=inside)


@triton.jit
def _in_front_of_relu(x, y, gradient, place, inside, mean, scale, factor, summand, HAS_RESIDUAL: tl.constexpr):
    """Gradient in front of the ReLU, and the normalized input."""
    value = tl.load(x + place, mask=inside, other=0).to(tl.float32)
    slope = tl.load(gradient + place, mask=inside, other=0).to(tl.float32)
    if HAS_RESIDUAL:
        out = tl.load(y + place, mask=inside, other=0).to(tl.float32)
    else:
        out = value * factor + summand
    return tl.where(inside & (out > 0), slope, 0), (value - mean) * scale


@triton.jit
def reduce_gradients(x, y, gradient, moments, partial, elements, rows, width, channels, HAS_RESIDUAL: tl.constexpr,
                     BLOCK: tl.constexpr, ROWS: tl.constexpr):
    """Sums of the gradient, and of its product with the normalized input."""
    channel = tl.arange(0, BLOCK) % channels
    mean = tl.load(moments + channel)[None, :]
    scale = tl.load(moments + channels + channel)[None, :]
    factor = tl.load(moments + 2 * channels + channel)[None, :]
    summand = tl.load(moments + 3 * channels + channel)[None, :]
    of_bias = tl.zeros([ROWS, BLOCK], tl.float32)
    of_weight = tl.zeros([ROWS, BLOCK], tl.float32)
    first = tl.program_id(0) * rows
    for start in range(0, rows, ROWS):
        place, inside = _tile(first + start, elements, width, BLOCK, ROWS)
        slope, normalized = _in_front_of_relu(x, y, gradient, place, inside, mean, scale, factor, summand, HAS_RESIDUAL)
        of_bias += slope
        of_weight += slope * normalized
    _leave(partial, of_bias, of_weight, BLOCK)


@triton.jit
def finish_gradients(partial, sums, programs, width, channels, BLOCK: tl.constexpr, PROGRAMS: tl.constexpr):
    of_bias, of_weight = _gather(partial, programs, width, channels, BLOCK, PROGRAMS)
    tl.store(sums + tl.program_id(0), of_bias)
    tl.store(sums + channels + tl.program_id(0), of_weight)


@triton.jit
def propagate(x, y, gradient, moments, sums, of_x, of_residual, elements, width, channels, HAS_RESIDUAL: tl.constexpr,
              BLOCK: tl.constexpr, ROWS: tl.constexpr):
    place, inside = _tile(tl.program_id(0) * ROWS, elements, width, BLOCK, ROWS)
    channel = tl.arange(0, BLOCK) % channels
    mean = tl.load(moments + channel)[None, :]
    scale = tl.load(moments + channels + channel)[None, :]
    factor = tl.load(moments + 2 * channels + channel)[None, :]
    summand = tl.load(moments + 3 * channels + channel)[None, :]
    slope, normalized = _in_front_of_relu(x, y, gradient, place, inside, mean, scale, factor, summand, HAS_RESIDUAL)
    count = elements // channels
    of_bias = tl.load(sums + channel)[None, :] / count
    of_weight = tl.load(sums + channels + channel)[None, :] / count
    tl.store(of_x + place, factor * (slope - of_bias - normalized * of_weight), mask=inside)
    if HAS_RESIDUAL:
        tl.store(of_residual + place, slope, mask=inside)
