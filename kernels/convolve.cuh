// convolve.cuh - the three directions of a convolution as products of matrices: see convolve.cu.
#pragma once
#include "numbers.cuh"
#include "view.cuh"
#include "volume.cuh"

struct Convolution { Window windows[3]; i64 batch, groups, inputs, outputs, x[5], weight[5], y[5]; };

// A part of a position in a volume, and of an address.
struct Where {
    i64 at; int z, y, x;
    // The same with what the position adds to the address.
    INLINE Where settled(const i64* steps) const { return {at + z * steps[0] + y * steps[1] + x * steps[2], z, y, x}; }
};
// Where along the shared axis: in the left operand, and in the right one.
struct Shared { i64 left; Where right; };

// The three directions. Each says what a row, a column and a place along the shared axis mean. Where strides divide nothing, an address is
// linear in position and tap: both are settled.
struct Forward {
    const Convolution& c; int group;
    INLINE i64 rows() const { return c.outputs; }
    INLINE i64 columns() const { return c.batch * volume(c.windows, &Window::count); }
    INLINE i64 depth() const { return c.inputs * volume(c.windows, &Window::kernel); }
    INLINE i64 left() const { return group * c.outputs * c.weight[0]; }
    INLINE i64 left_row() const { return c.weight[0]; }
    INLINE i64 right() const { return group * c.inputs * c.x[1]; }
    INLINE const i64* steps() const { return c.x + 2; }
    INLINE int limit(int axis) const { return c.windows[axis].size; }
    INLINE int divisor(int) const { return 1; }
    INLINE bool is_linear() const { return true; }
    INLINE Where column(u32 j) const {
        u32 windows = volume(c.windows, &Window::count), n = j / windows;
        Where w; split(c.windows, &Window::count, j - n * windows, w.z, w.y, w.x);
        return {n * c.x[0], start(c.windows[0], w.z), start(c.windows[1], w.y), start(c.windows[2], w.x)};
    }
    INLINE Shared shared(u32 k) const {
        u32 taps = volume(c.windows, &Window::kernel), channel = k / taps; int z, y, x;
        split(c.windows, &Window::kernel, k - channel * taps, z, y, x);
        return {channel * c.weight[1] + z * c.weight[2] + y * c.weight[3] + x * c.weight[4],
                {channel * c.x[1], z * c.windows[0].dilation, y * c.windows[1].dilation, x * c.windows[2].dilation}};
    }
    INLINE i64 out_row() const { return volume(c.windows, &Window::count); }
    INLINE i64 out(u32 j) const {
        u32 windows = volume(c.windows, &Window::count), n = j / windows;
        return (n * c.groups + group) * c.outputs * windows + (j - n * windows);
    }
};
struct Transposed {
    const Convolution& c; int group;
    INLINE i64 rows() const { return c.inputs; }
    INLINE i64 columns() const { return c.batch * volume(c.windows, &Window::size); }
    INLINE i64 depth() const { return c.outputs * volume(c.windows, &Window::kernel); }
    INLINE i64 left() const { return group * c.outputs * c.weight[0]; }
    INLINE i64 left_row() const { return c.weight[1]; }
    INLINE i64 right() const { return group * c.outputs * c.y[1]; }
    INLINE const i64* steps() const { return c.y + 2; }
    INLINE int limit(int axis) const { return c.windows[axis].count; }
    INLINE int divisor(int axis) const { return c.windows[axis].stride; }
    INLINE bool is_linear() const { return c.windows[0].stride == 1 && c.windows[1].stride == 1 && c.windows[2].stride == 1; }
    INLINE Where column(u32 j) const {
        u32 elements = volume(c.windows, &Window::size), n = j / elements;
        Where w; split(c.windows, &Window::size, j - n * elements, w.z, w.y, w.x);
        return {n * c.y[0], w.z + c.windows[0].before, w.y + c.windows[1].before, w.x + c.windows[2].before};
    }
    INLINE Shared shared(u32 k) const {
        u32 taps = volume(c.windows, &Window::kernel), channel = k / taps; int z, y, x;
        split(c.windows, &Window::kernel, k - channel * taps, z, y, x);
        return {channel * c.weight[0] + z * c.weight[2] + y * c.weight[3] + x * c.weight[4],
                {channel * c.y[1], -z * c.windows[0].dilation, -y * c.windows[1].dilation, -x * c.windows[2].dilation}};
    }
    INLINE i64 out_row() const { return volume(c.windows, &Window::size); }
    INLINE i64 out(u32 j) const {
        u32 elements = volume(c.windows, &Window::size), n = j / elements;
        return (n * c.groups + group) * c.inputs * elements + (j - n * elements);
    }
};
struct Weight {
    const Convolution& c; int group; i64 piece;
    INLINE i64 rows() const { return c.outputs; }
    INLINE i64 columns() const { return c.inputs * volume(c.windows, &Window::kernel); }
    INLINE i64 depth() const { return c.batch * volume(c.windows, &Window::count); }
    INLINE i64 left() const { return group * c.outputs * c.y[1]; }
    INLINE i64 left_row() const { return c.y[1]; }
    INLINE i64 right() const { return group * c.inputs * c.x[1]; }
    INLINE const i64* steps() const { return c.x + 2; }
    INLINE int limit(int axis) const { return c.windows[axis].size; }
    INLINE int divisor(int) const { return 1; }
    INLINE bool is_linear() const { return true; }
    INLINE Where column(u32 j) const {
        u32 taps = volume(c.windows, &Window::kernel), channel = j / taps;
        Where w; split(c.windows, &Window::kernel, j - channel * taps, w.z, w.y, w.x);
        return {channel * c.x[1], w.z * c.windows[0].dilation, w.y * c.windows[1].dilation, w.x * c.windows[2].dilation};
    }
    INLINE Shared shared(u32 k) const {
        u32 windows = volume(c.windows, &Window::count), n = k / windows; int z, y, x;
        split(c.windows, &Window::count, k - n * windows, z, y, x);
        return {n * c.y[0] + z * c.y[2] + y * c.y[3] + x * c.y[4], {n * c.x[0], start(c.windows[0], z), start(c.windows[1], y), start(c.windows[2], x)}};
    }
    INLINE i64 out_row() const { return columns(); }
    INLINE i64 out(u32 j) const { return (piece * c.groups + group) * c.outputs * columns() + j; }
};

// The element that a column and a place along the shared axis meet in; zero where there is none.
template <class T, class D> INLINE T element(const D& d, const T* right, const Where& column, const Where& tap, bool linear) {
    int z = column.z + tap.z, y = column.y + tap.y, x = column.x + tap.x;
    if (linear) return u32(z) < u32(d.limit(0)) && u32(y) < u32(d.limit(1)) && u32(x) < u32(d.limit(2)) ? right[column.at + tap.at] : T{};
    if (!inside(z, d.limit(0), d.divisor(0)) || !inside(y, d.limit(1), d.divisor(1)) || !inside(x, d.limit(2), d.divisor(2))) return T{};
    return right[column.at + tap.at + z * d.steps()[0] + y * d.steps()[1] + x * d.steps()[2]];
}
template <class D> INLINE Where column_of(const D& d, u32 j, bool linear) { return linear ? d.column(j).settled(d.steps()) : d.column(j); }
template <class D> INLINE Shared shared_of(const D& d, u32 k, bool linear) {
    Shared shared = d.shared(k);
    if (linear) shared.right = shared.right.settled(d.steps());
    return shared;
}
