// volume.cuh - windows over volumes of depth, height and width.
#pragma once
#include "device.cuh"

// As src/device/window.rs: output i reads the elements i · stride + tap · dilation - before that exist.
struct Window { int size, count, kernel, stride, before, dilation; };

INLINE u32 volume(const Window* w, int Window::*of) { return u32(w[0].*of) * u32(w[1].*of) * u32(w[2].*of); }
// Position `index` of a volume, as coordinates.
INLINE void split(const Window* w, int Window::*of, u32 index, int& z, int& y, int& x) {
    u32 above = index / u32(w[2].*of);
    x = int(index - above * u32(w[2].*of));
    z = int(above / u32(w[1].*of));
    y = int(above - u32(z) * u32(w[1].*of));
}
// The first element that a window reads, and how far behind it a tap lies.
INLINE int start(const Window& w, int i) { return i * w.stride - w.before; }
// A coordinate of an element, or false where it is not in the volume.
INLINE bool inside(int& at, int limit, int divisor) {
    if (at < 0) return false;
    if (divisor > 1) { int whole = at / divisor; if (whole * divisor != at) return false; at = whole; }
    return at < limit;
}
