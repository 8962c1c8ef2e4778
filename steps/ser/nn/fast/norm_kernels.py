# mypy: allow-untyped-defs, allow-incomplete-defs
"""Triton kernels of batch normalization, the addition of a residual, and ReLU; ser.nn.fast.normalization calls them.

A map that holds the channels of one position side by side is read as rows of `width` numbers, so that a column is
always the same channel, `column % channels`. A program reduces its rows to two numbers of each column, which it leaves
in `partial` `[2, BLOCK, programs]`; a second kernel joins those in a fixed order, so results repeat exactly.
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
def _count(program, column, elements, rows, width):
    """How many numbers of a column a program sums up."""
    left = elements - program * rows * width - column
    return tl.minimum(tl.maximum((left + width - 1) // width, 0), rows)


@triton.jit
def reduce_moments(x, partial, elements, rows, width, BLOCK: tl.constexpr, ROWS: tl.constexpr):
    """Mean of each column, and the sum of the squared deviations from it.

    Summed up are differences from the program's first row, so that a large mean takes no digits of a small deviation.
    """
    column = tl.arange(0, BLOCK)
    first = tl.program_id(0) * rows
    count = _count(tl.program_id(0), column, elements, rows, width)
    near = tl.load(x + first * width + column, mask=(column < width) & (count > 0), other=0).to(tl.float32)
    differences = tl.zeros([ROWS, BLOCK], tl.float32)
    squares = tl.zeros([ROWS, BLOCK], tl.float32)
    for start in range(0, rows, ROWS):
        place, inside = _tile(first + start, elements, width, BLOCK, ROWS)
        difference = tl.where(inside, tl.load(x + place, mask=inside, other=0).to(tl.float32) - near[None, :], 0)
        differences += difference
        squares += difference * difference
    total = tl.sum(differences, 0)
    offset = total / tl.maximum(count, 1)
    place = partial + column * tl.num_programs(0) + tl.program_id(0)
    tl.store(place, near + offset)
    tl.store(place + BLOCK * tl.num_programs(0), tl.maximum(tl.sum(squares, 0) - total * offset, 0))


@triton.jit
def finish_moments(partial, weight, bias, running_mean, running_var, moments, eps, momentum, elements, rows, programs,
                   width, channels, BLOCK: tl.constexpr, PROGRAMS: tl.constexpr):
    """Of one channel: mean, 1 / deviation, weight / deviation and bias; running statistics.

    Partial moments are joined as by Chan, Golub and LeVeque 1983, equation 2.1.
    """
    channel, program = tl.program_id(0), tl.arange(0, PROGRAMS)
    exists, all_count = program < programs, elements // channels
    near = tl.load(partial + channel * programs)
    differences = tl.zeros([PROGRAMS], tl.float32)
    for column in range(channel, width, channels):
        count = _count(program, column, elements, rows, width)
        mean = tl.load(partial + column * programs + program, mask=exists, other=0)
        differences += tl.where(exists, count * (mean - near), 0)
    all_mean = near + tl.sum(differences) / all_count
    squares = tl.zeros([PROGRAMS], tl.float32)
    for column in range(channel, width, channels):
        count = _count(program, column, elements, rows, width)
        place = partial + column * programs + program
        difference = tl.load(place, mask=exists, other=0) - all_mean
        squares += tl.where(exists, count * difference * difference, 0)
        squares += tl.load(place + BLOCK * programs, mask=exists, other=0)
    all_squares = tl.sum(squares)
    variance = all_squares / all_count
    scale = 1 / tl.sqrt(variance + eps)
    tl.store(moments + channel, all_mean)
    tl.store(moments + channels + channel, scale)
    tl.store(moments + 2 * channels + channel, tl.load(weight + channel) * scale)
    tl.store(moments + 3 * channels + channel, tl.load(bias + channel))
    old = tl.load(running_mean + channel)
    tl.store(running_mean + channel, old + momentum * (all_mean - old))
    old = tl.load(running_var + channel)
    tl.store(running_var + channel, old + momentum * (all_squares / tl.maximum(all_count - 1, 1) - old))


@triton.jit
def normalize(x, residual, moments, y, elements, width, channels, HAS_RESIDUAL: tl.constexpr, BLOCK: tl.constexpr,
              ROWS: tl.constexpr):
    place, inside = _tile(tl.program_id(0) * ROWS, elements, width, BLOCK, ROWS)
    channel = tl.arange(0, BLOCK) % channels
    mean = tl.load(moments + channel)[None, :]
    factor = tl.load(moments + 2 * channels + channel)[None, :]
    bias = tl.load(moments + 3 * channels + channel)[None, :]
    value = (tl.load(x + place, mask=inside, other=0).to(tl.float32) - mean) * factor + bias
    if HAS_RESIDUAL:
        value += tl.load(residual + place, mask=inside, other=0).to(tl.float32)
    tl.store(y + place, tl.where(value < 0, 0, value), mask=inside)  # tl.maximum would make 0 of what is not a number


@triton.jit
def _in_front_of_relu(x, y, gradient, place, inside, mean, scale, factor, bias, HAS_RESIDUAL: tl.constexpr):
    """Gradient in front of the ReLU, and the normalized input."""
    value = tl.load(x + place, mask=inside, other=0).to(tl.float32)
    slope = tl.load(gradient + place, mask=inside, other=0).to(tl.float32)
    if HAS_RESIDUAL:
        out = tl.load(y + place, mask=inside, other=0).to(tl.float32)
    else:
        out = (value - mean) * factor + bias
    return tl.where(inside & (out > 0), slope, 0), (value - mean) * scale


@triton.jit
def reduce_gradients(x, y, gradient, moments, partial, elements, rows, width, channels, HAS_RESIDUAL: tl.constexpr,
                     BLOCK: tl.constexpr, ROWS: tl.constexpr):
    """Sums of the gradient, and of its product with the normalized input."""
    channel = tl.arange(0, BLOCK) % channels
    mean = tl.load(moments + channel)[None, :]
    scale = tl.load(moments + channels + channel)[None, :]
    factor = tl.load(moments + 2 * channels + channel)[None, :]
    bias = tl.load(moments + 3 * channels + channel)[None, :]
    of_bias = tl.zeros([ROWS, BLOCK], tl.float32)
    of_weight = tl.zeros([ROWS, BLOCK], tl.float32)
    first = tl.program_id(0) * rows
    for start in range(0, rows, ROWS):
        place, inside = _tile(first + start, elements, width, BLOCK, ROWS)
        slope, normalized = _in_front_of_relu(x, y, gradient, place, inside, mean, scale, factor, bias, HAS_RESIDUAL)
        of_bias += slope
        of_weight += slope * normalized
    place = partial + tl.arange(0, BLOCK) * tl.num_programs(0) + tl.program_id(0)
    tl.store(place, tl.sum(of_bias, 0))
    tl.store(place + BLOCK * tl.num_programs(0), tl.sum(of_weight, 0))


@triton.jit
def finish_gradients(partial, sums, programs, width, channels, BLOCK: tl.constexpr, PROGRAMS: tl.constexpr):
    """Of one channel: those sums over all of its columns and all programs."""
    channel, program = tl.program_id(0), tl.arange(0, PROGRAMS)
    exists = program < programs
    of_bias = tl.zeros([PROGRAMS], tl.float32)
    of_weight = tl.zeros([PROGRAMS], tl.float32)
    for column in range(channel, width, channels):
        place = partial + column * programs + program
        of_bias += tl.load(place, mask=exists, other=0)
        of_weight += tl.load(place + BLOCK * programs, mask=exists, other=0)
    tl.store(sums + channel, tl.sum(of_bias))
    tl.store(sums + channels + channel, tl.sum(of_weight))


@triton.jit
def propagate(x, y, gradient, moments, sums, of_x, of_residual, elements, width, channels, HAS_RESIDUAL: tl.constexpr,
              BLOCK: tl.constexpr, ROWS: tl.constexpr):
    place, inside = _tile(tl.program_id(0) * ROWS, elements, width, BLOCK, ROWS)
    channel = tl.arange(0, BLOCK) % channels
    mean = tl.load(moments + channel)[None, :]
    scale = tl.load(moments + channels + channel)[None, :]
    factor = tl.load(moments + 2 * channels + channel)[None, :]
    bias = tl.load(moments + 3 * channels + channel)[None, :]
    slope, normalized = _in_front_of_relu(x, y, gradient, place, inside, mean, scale, factor, bias, HAS_RESIDUAL)
    count = elements // channels
    of_bias = tl.load(sums + channel)[None, :] / count
    of_weight = tl.load(sums + channels + channel)[None, :] / count
    tl.store(of_x + place, factor * (slope - of_bias - normalized * of_weight), mask=inside)
    if HAS_RESIDUAL:
        tl.store(of_residual + place, slope, mask=inside)
