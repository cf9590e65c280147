// window.cu - pooling, resizing, unfolding: windows over volumes.
//
//   struct Window { int size, count, kernel, stride, before, dilation; } for depth, height, width; kernel = 0: so many windows that cover all
//   elements as evenly as whole numbers allow (size · count below 2^32). struct Windows { Window axes[3]; } (72 bytes)
//   max_windows_T(x, y, places, i64 count, Windows)                              T of f32 f64 bf16 f16
//        the greatest of each window (NaN where there is one); places (i32, may be null): its position in the volume, the first of equal ones;
//        -infinity and -1 where a window holds no element
//   scatter_volumes_{f32,f64}(x, places, y, i64 volumes, i64 windows, i64 elements, u64* fault, u64 operation)
//        y (zeros before) [volumes, elements]: each x [volumes, windows] is added at its place (i64; -1: nowhere), in order
//   pick_volumes_{2,4,8}(x, places, y, i64 count, i64 windows, i64 elements, u64* fault, u64 operation)      y = x at its place, 0 for -1
//   blend_f64(x, y, starts, places, weights, i64 count, i64 size, i64 outputs, i64 inner)
//        one axis through a linear map: y[o][i][k] = Σ weights[t] · x[o][places[t]][k] for t of starts[i] .. starts[i + 1]
//   unfold_{1,2,4,8}(x, columns, i64 count, Windows)                             columns [volumes, taps, windows], zeros for padding
//   fold_{f32,f64}(columns, y, i64 count, Windows)                               its transpose, added up in the order of taps
//
// All dense. A place outside of the volume: the least of (operation << 40 | its number) goes to fault. Launch: 256 threads, grid
// (min(ceil(n / 256), 65536), 1, 1), striding; n: count, for scatter_volumes the volumes. A thread for each number that is written, neighbours at
// neighbouring windows: bound by the bytes of x and y where windows do not overlap, else by what the nearest cache gives.
#include "numbers.cuh"
#include "view.cuh"
#include "volume.cuh"

struct Windows { Window axes[3]; };

// The elements of a window along an axis: the first position (which may lie before the volume), how many taps, and their distance.
INLINE void taps_of(const Window& w, int output, int& first, int& taps, int& step) {
    if (w.kernel) { first = start(w, output); taps = w.kernel; step = w.dilation; return; }
    u32 scaled = u32(output) * u32(w.size);
    first = int(scaled / u32(w.count));
    taps = int((scaled + u32(w.size) + u32(w.count) - 1) / u32(w.count)) - first; step = 1;
}

template <class T> INLINE void max_windows(const T* x, T* y, i32* places, i64 count, const Windows& windows) {
    const Window* w = windows.axes;
    u32 outputs = volume(w, &Window::count), elements = volume(w, &Window::size);
    for (i64 at = first_of_grid(); at < count; at += step_of_grid()) {
        u32 image = u32(at) / outputs; int out[3], first[3], taps[3], step[3];
        split(w, &Window::count, u32(at) - image * outputs, out[0], out[1], out[2]);
#pragma unroll
        for (int axis = 0; axis < 3; axis++) taps_of(w[axis], out[axis], first[axis], taps[axis], step[axis]);
        const T* from = x + i64(image) * elements;
        Real<T> best = -Real<T>(INFINITY); i32 place = -1;
        for (int a = 0; a < taps[0]; a++) for (int b = 0; b < taps[1]; b++) for (int c = 0; c < taps[2]; c++) {
            int i = first[0] + a * step[0], j = first[1] + b * step[1], k = first[2] + c * step[2];
            if (i < 0 || i >= w[0].size || j < 0 || j >= w[1].size || k < 0 || k >= w[2].size) continue;
            int here = (i * w[1].size + j) * w[2].size + k;
            Real<T> number = widen(from[here]);
            if (place < 0 || number > best || (number != number && best == best)) { best = number; place = here; }
        }
        y[at] = narrow<T>(best);
        if (places) places[at] = place;
    }
}

INLINE bool is_place(i64 place, i64 elements, u64* fault, u64 operation, i64 at) {
    if (place >= 0 && place < elements) return true;
    if (place != -1) atomicMin(fault, operation << 40 | u64(at));
    return false;
}

template <class T> INLINE void scatter_volumes(const T* x, const i64* places, T* y, i64 volumes, i64 windows, i64 elements, u64* fault, u64 operation) {
    for (i64 image = first_of_grid(); image < volumes; image += step_of_grid())
        for (i64 i = 0; i < windows; i++) {
            i64 at = image * windows + i;
            if (is_place(places[at], elements, fault, operation, at)) y[image * elements + places[at]] += x[at];
        }
}
template <class W> INLINE void pick_volumes(const W* x, const i64* places, W* y, i64 count, i64 windows, i64 elements, u64* fault, u64 operation) {
    for (i64 at = first_of_grid(); at < count; at += step_of_grid())
        y[at] = is_place(places[at], elements, fault, operation, at) ? x[i64(quotient(at, windows)) * elements + places[at]] : W(0);
}

KERNEL(blend_f64, const double* x, double* y, const i64* starts, const i64* places, const double* weights, i64 count, i64 size, i64 outputs, i64 inner) {
    for (i64 at = first_of_grid(); at < count; at += step_of_grid()) {
        i64 line = quotient(at, inner), k = at - line * inner, outer = quotient(line, outputs), i = line - outer * outputs;
        double sum = 0;
        for (i64 t = starts[i]; t < starts[i + 1]; t++) sum += weights[t] * x[(outer * size + places[t]) * inner + k];
        y[at] = sum;
    }
}

template <class W> INLINE void unfold(const W* x, W* columns, i64 count, const Windows& windows) {
    const Window* w = windows.axes;
    u32 outputs = volume(w, &Window::count), taps = volume(w, &Window::kernel), elements = volume(w, &Window::size);
    for (i64 at = first_of_grid(); at < count; at += step_of_grid()) {
        u32 line = u32(at) / outputs, image = line / taps; int z, y, k, a, b, c;
        split(w, &Window::count, u32(at) - line * outputs, z, y, k);
        split(w, &Window::kernel, line - image * taps, a, b, c);
        z = start(w[0], z) + a * w[0].dilation; y = start(w[1], y) + b * w[1].dilation; k = start(w[2], k) + c * w[2].dilation;
        bool there = inside(z, w[0].size, 1) && inside(y, w[1].size, 1) && inside(k, w[2].size, 1);
        columns[at] = there ? x[i64(image) * elements + (z * w[1].size + y) * w[2].size + k] : W(0);
    }
}
template <class T> INLINE void fold(const T* columns, T* y, i64 count, const Windows& windows) {
    const Window* w = windows.axes;
    u32 outputs = volume(w, &Window::count), taps = volume(w, &Window::kernel), elements = volume(w, &Window::size);
    for (i64 at = first_of_grid(); at < count; at += step_of_grid()) {
        u32 image = u32(at) / elements; int z, j, k;
        split(w, &Window::size, u32(at) - image * elements, z, j, k);
        T sum = 0; i64 line = i64(image) * taps;
        for (int a = 0; a < w[0].kernel; a++) for (int b = 0; b < w[1].kernel; b++) for (int c = 0; c < w[2].kernel; c++, line++) {
            int p = z + w[0].before - a * w[0].dilation, q = j + w[1].before - b * w[1].dilation, r = k + w[2].before - c * w[2].dilation;
            if (inside(p, w[0].count, w[0].stride) && inside(q, w[1].count, w[1].stride) && inside(r, w[2].count, w[2].stride))
                sum += columns[line * outputs + (p * w[1].count + q) * w[2].count + r];
        }
        y[at] = sum;
    }
}

#define GREATEST(t, T) KERNEL_OF((256, 2), max_windows_##t, const T* x, T* y, i32* places, i64 count, Windows windows) { max_windows(x, y, places, count, windows); }
FLOATS(GREATEST)
#define SUMS(t, T)                                                                                                                                        \
    KERNEL(scatter_volumes_##t, const T* x, const i64* places, T* y, i64 volumes, i64 windows, i64 elements, u64* fault, u64 operation) {                 \
        scatter_volumes(x, places, y, volumes, windows, elements, fault, operation);                                                                      \
    }                                                                                                                                                     \
    KERNEL(fold_##t, const T* columns, T* y, i64 count, Windows windows) { fold(columns, y, count, windows); }
SUMS(f32, float) SUMS(f64, double)
#define PICKS(bytes, W)                                                                                                                                   \
    KERNEL(pick_volumes_##bytes, const W* x, const i64* places, W* y, i64 count, i64 windows, i64 elements, u64* fault, u64 operation) {                  \
        pick_volumes(x, places, y, count, windows, elements, fault, operation);                                                                           \
    }
#define UNFOLDS(bytes, W) KERNEL(unfold_##bytes, const W* x, W* columns, i64 count, Windows windows) { unfold(x, columns, count, windows); }
PICKS(2, u16) PICKS(4, u32) PICKS(8, u64)
UNFOLDS(1, u8) UNFOLDS(2, u16) UNFOLDS(4, u32) UNFOLDS(8, u64)
