// hopper.cpp - what compute capability 9.0 has beside its threads: barriers that count arrivals and bytes, a unit that copies boxes, and products by
// four warps that go on while their threads do something else. It is judged as strictly as the architecture allows to be lax:
// a box arrives as late as possible (or at once, as the order of threads says), products read their operands when they are waited for.
#include "runtime.h"
#include <algorithm>
#include <unordered_map>

namespace emulator {
namespace {
struct Barrier { unsigned arrivals, missing; long long bytes; unsigned phase, begun_by; bool known_to_unit; Clock known; };
struct Box { unsigned char* to; Map map; int at[4]; const void* barrier; Clock known; const void* caller; };
// A box on its way to global memory.
struct Put { Box box; bool done; };
struct Product {
    float* sums; unsigned count; unsigned long long a, b; bool a_turned, b_turned; unsigned size; float (*number)(const void*); bool add; const void* caller;
    const unsigned* registers = nullptr; float rows[2][16] = {};            // of a, where it is in registers: this thread's, and rows g and g + 8
    static bool meets(const void* at, unsigned bytes, const void* first, unsigned count) {
        auto place = static_cast<const char*>(at), begin = static_cast<const char*>(first);
        return place < begin + 4 * count && begin < place + bytes;
    }
    bool changes(const void* at, unsigned bytes) const { return meets(at, bytes, sums, count); }
    bool reads(const void* at, unsigned bytes) const { return registers && meets(at, bytes, registers, 4); }
};
// What a thread has asked for, and which words of its own it has touched (written: true) since its last fence.
struct Hand {
    std::vector<Product> open; std::vector<std::vector<Product>> groups; std::vector<Put> puts; std::vector<std::vector<Put>> put_groups; std::unordered_map<uintptr_t, bool> touched; bool begun = false; unsigned fenced = 0, done = 0;
    bool has_touched(const void* at, unsigned words, bool written) const {
        for (unsigned i = 0; i < words; i++) { auto found = touched.find(uintptr_t(at) / 4 + i); if (found != touched.end() && found->second >= written) return true; }
        return false;
    }
};
// The numbers of b as the first lane of a warp has read them, for the others: [k][column].
struct Columns { unsigned number = 0; std::vector<float> numbers; };

std::map<const void*, Barrier> barriers;
std::vector<Box> boxes;
std::vector<Hand> hands;
std::vector<Columns> columns_of_warps;

const char* name_of(Place place) { const char* slash = strrchr(place.file, '/'); return slash ? slash + 1 : place.file; }
Hand& hand() {
    if (hands.size() <= current->linear) hands.resize(MOST_THREADS);
    return hands[current->linear];
}
void join(Clock& all, const Clock& more) {
    if (all.empty()) all = more;
    else for (size_t i = 0; i < all.size(); i++) all[i] = std::max(all[i], more[i]);
}
Barrier& barrier_at(const void* at, Place place) {
    auto found = barriers.find(at);
    if (found == barriers.end()) fail(ILLEGAL_STATE, "a barrier in shared memory is used that nobody has begun\n  at %s:%d", name_of(place), place.line);
    access(at, 8, ATOMIC, nullptr);
    return found->second;
}
void end_phase(Barrier& barrier, const void* at) {
    if (barrier.missing || barrier.bytes) return;
    barrier.phase ^= 1; barrier.missing = barrier.arrivals;
    wake(at);
}
// What the instruction set calls the 128-byte swizzle: three bits of the line's number change the place of a chunk of 16 bytes.
size_t swizzled(size_t place) { return place ^ (place >> 7 & 7) << 4; }

// The nearest number of 11 bits, ties to even; what is no number stays.
void round_to_tf32(unsigned char* at) {
    unsigned bits; memcpy(&bits, at, 4);
    if ((bits & 0x7f800000u) != 0x7f800000u) bits = (bits + 0xfffu + (bits >> 13 & 1)) & 0xffffe000u;
    memcpy(at, &bits, 4);
}
void bring(Box box) {
    const Map& map = box.map; unsigned line = map.box[0] * map.size;
    for (unsigned y = 0; y < map.box[1]; y++) {
        std::vector<unsigned char> bytes(line, 0);
        long long from = std::max(0ll, -(long long)box.at[0]), end = std::min((long long)map.box[0], map.sizes[0] - box.at[0]), outer = (long long)box.at[1] + y;
        bool inside = from < end && outer >= 0 && outer < map.sizes[1];
        long long further = 0;
        for (unsigned axis = 2; axis < map.rank; axis++) { inside &= box.at[axis] >= 0 && box.at[axis] < map.sizes[axis]; further += box.at[axis] * map.strides[axis - 1]; }
        if (inside) {
            auto source = reinterpret_cast<const unsigned char*>(map.base) + further + outer * map.strides[0] + (box.at[0] + from) * map.size;
            access(source, unsigned((end - from) * map.size), READ, box.caller);
            memcpy(bytes.data() + from * map.size, source, size_t(end - from) * map.size);
            if (map.is_tf32) for (long long x = from; x < end; x++) round_to_tf32(bytes.data() + x * 4);
        }
        for (unsigned x = 0; x < line; x += 16) {
            size_t place = size_t(box.to - shared_memory()) + y * line + x;
            unsigned char* to = shared_memory() + (map.swizzle == 3 ? swizzled(place) : place);
            access(to, 16, WRITE, box.caller);
            memcpy(to, bytes.data() + x, 16);
        }
    }
    Barrier& barrier = barriers.at(box.barrier);
    barrier.bytes -= (long long)line * map.box[1];
    join(barrier.known, known());
    end_phase(barrier, box.barrier);
}

// The other way: reads the box and writes what of it lies inside of the tensor.
void put(Put& one) {
    if (one.done) return;
    const Box& box = one.box; const Map& map = box.map; unsigned line = map.box[0] * map.size;
    one.done = true;
    as_unit(box.known, [&] {
        for (unsigned y = 0; y < map.box[1]; y++) for (unsigned x = 0; x < line; x += 16) {
            size_t place = size_t(box.to - shared_memory()) + y * line + x;
            const unsigned char* from = shared_memory() + (map.swizzle == 3 ? swizzled(place) : place);
            access(from, 16, READ, box.caller);
            if (!written_for_units(from, 16)) fail(ILLEGAL_STATE, "a box is copied from what a thread wrote to shared memory with no fence.proxy.async behind it");
            long long outer = (long long)box.at[1] + y, inner = box.at[0] + x / map.size;
            if (outer < 0 || outer >= map.sizes[1] || box.at[2] < 0 || box.at[2] >= map.sizes[2]) continue;
            for (unsigned e = 0; e < 16 / map.size; e++) if (inner + e >= 0 && inner + e < map.sizes[0]) {
                auto to = reinterpret_cast<unsigned char*>(map.base) + box.at[2] * map.strides[1] + outer * map.strides[0] + (inner + e) * map.size;
                access(to, map.size, WRITE, box.caller);
                memcpy(to, from + e * map.size, map.size);
            }
        }
        one.box.known = known();
    });
}

// Where number k of a line of an operand stands, as its descriptor says.
const unsigned char* number_at(unsigned long long operand, bool turned, unsigned size, unsigned line, unsigned k) {
    size_t start = (operand & 0x3fff) << 4, blocks = (operand >> 16 & 0x3fff) << 4, groups = (operand >> 32 & 0x3fff) << 4;
    size_t each = 16 / size, wide = 8 * each;                               // numbers of a chunk, of a line of 128 bytes
    size_t place = turned ? start + line / wide * blocks + line % wide * size + k / 8 * groups + k % 8 * 128
                          : start + line / 8 * groups + line % 8 * 128 + k * size;
    return shared_memory() + swizzled(place);
}
void judge_chunk(const unsigned char* at, unsigned size, const void* caller) {
    access(at, 16, READ, caller);
    if (size == 4) {
        unsigned words[4]; memcpy(words, at, 16);
        if ((words[0] | words[1] | words[2] | words[3]) & 0x1fff) fail(ILLEGAL_STATE, "products of tf32 read numbers that nobody rounded to it: they are cut off");
    }
    if (!written_for_units(at, 16))
        fail(ILLEGAL_STATE, "products of four warps read what a thread wrote to shared memory with no fence.proxy.async behind it");
}
// This thread's sums of a product, and its share of looking at the operands.
void multiply(const Product& p) {
    unsigned warp = current->warp % 4, lane = current->lane, g = lane / 4, q = lane % 4, columns = p.count * 2, depth = 32 / p.size, each = 16 / p.size;
    auto look = [&](unsigned long long operand, bool turned, unsigned first, unsigned lines) {
        unsigned chunks = lines * depth / each;
        for (unsigned c = lane; c < chunks; c += 32)
            judge_chunk(turned ? number_at(operand, true, p.size, first + c / depth * each, c % depth) : number_at(operand, false, p.size, first + c / 2, c % 2 * each), p.size, p.caller);
    };
    if (!p.registers) look(p.a, p.a_turned, 16 * warp, 16);
    look(p.b, p.b_turned, 0, columns);
    Columns& b = columns_of_warps[current->warp];
    if (b.number != ++hand().done) {
        b.number = hand().done; b.numbers.resize(depth * columns);
        for (unsigned c = 0; c < columns; c++) for (unsigned k = 0; k < depth; k++) b.numbers[k * columns + c] = p.number(number_at(p.b, p.b_turned, p.size, c, k));
    }
    for (unsigned h = 0; h < 2; h++) {
        float sums[2 * 32] = {};
        for (unsigned k = 0; k < depth; k++) {
            float x = p.registers ? p.rows[h][k] : p.number(number_at(p.a, p.a_turned, p.size, 16 * warp + g + 8 * h, k));
            const float* row = &b.numbers[k * columns + 2 * q];
            for (unsigned j = 0; j < columns / 8; j++) { sums[2 * j] += x * row[8 * j]; sums[2 * j + 1] += x * row[8 * j + 1]; }
        }
        for (unsigned i = 0; i < columns / 4; i++) {
            float& to = p.sums[i / 2 * 4 + 2 * h + i % 2];
            to = p.add ? to + sums[i] : sums[i];
        }
    }
}
} // namespace

// ------------------------------------------------------------------------------------------ what block.cpp asks
void units_begin() { barriers.clear(); boxes.clear(); hands.clear(); columns_of_warps.assign(MOST_THREADS / 32, {}); }
bool boxes_wait() { return !boxes.empty(); }
void bring_a_box() {
    size_t which = order.kind == Order::SHUFFLED ? roll() % boxes.size() : 0;
    Box box = std::move(boxes[which]); boxes.erase(boxes.begin() + long(which));
    as_unit(box.known, [&] { bring(box); });
}
void thread_ends() {
    if (hands.empty()) return;
    if (!hand().open.empty() || !hand().groups.empty()) fail(ILLEGAL_STATE, "a thread ends while products of four warps are under way");
    if (!hand().puts.empty() || !hand().put_groups.empty()) fail(ILLEGAL_STATE, "a thread ends while boxes that it set out to copy are read from shared memory");
}
bool units_end() {
    for (auto& [at, barrier] : barriers) if (barrier.bytes) { refuse(ILLEGAL_STATE, "a block ends, and a barrier was told of %lld bytes more than came", barrier.bytes); return false; }
    return true;
}
void explain_wait(const void* at) {
    const Barrier& barrier = barriers.at(at);
    refuse(ILLEGAL_STATE, "a barrier in shared memory never ends its phase: %u arrivals and %lld bytes are missing", barrier.missing, barrier.bytes);
}
unsigned fenced_until(unsigned thread) { return hands.size() > thread ? hands[thread].fenced : 0; }
// A thread's own memory is read or written: are there sums, or registers that products read?
void touch(const void* at, unsigned bytes, Kind kind, const void* caller) {
    if (hands.empty()) return;
    Hand& h = hand();
    auto judge = [&](const Product& p) {
        if (p.changes(at, bytes)) fail(ILLEGAL_STATE, "sums are touched while products of four warps that change them are under way%s", place_of_caller(caller).c_str());
        if (kind != READ && p.reads(at, bytes)) fail(ILLEGAL_STATE, "registers are changed while products of four warps that read them are under way%s", place_of_caller(caller).c_str());
    };
    for (auto& p : h.open) judge(p);
    for (auto& group : h.groups) for (auto& p : group) judge(p);
    if (h.begun) for (unsigned i = 0; i < bytes; i += 4) h.touched[(uintptr_t(at) + i) / 4] |= kind != READ;
}

// ------------------------------------------------------------------------------------------ what kernels call
unsigned place_in_shared(const void* at) { return unsigned(static_cast<const unsigned char*>(at) - shared_memory()); }
void mbarrier_begin(void* at, unsigned arrivals, Place) {
    access(at, 8, WRITE, nullptr);
    barriers[at] = Barrier{arrivals, arrivals, 0, 0, current->linear, false, {}};
}
void mbarriers_begun() { for (auto& one : barriers) if (one.second.begun_by == current->linear) one.second.known_to_unit = true; }
void mbarrier_arrive(void* at, unsigned bytes, Place place) {
    Barrier& barrier = barrier_at(at, place);
    if (!barrier.missing) fail(ILLEGAL_STATE, "more arrivals at a barrier in shared memory than it waits for\n  at %s:%d", name_of(place), place.line);
    join(barrier.known, known()); step();
    barrier.bytes += bytes; barrier.missing--;
    end_phase(barrier, at);
}
void mbarrier_wait(void* at, unsigned parity, Place place) {
    Barrier* barrier = &barrier_at(at, place);
    while (barrier->phase == (parity & 1)) { wait_for(at, place); barrier = &barriers.at(at); }
    if (!barrier->known.empty()) learn(barrier->known);
}
void copy_box(void* to, const void* map, std::initializer_list<int> at, void* barrier, Place place, const void* caller) {
    Box box{static_cast<unsigned char*>(to), {}, {}, barrier, {}, caller};
    std::copy(at.begin(), at.end(), box.at);
    memcpy(&box.map, map, sizeof box.map);
    if (box.map.magic != Map::MAGIC) fail(ILLEGAL_ADDRESS, "a copy of a box by what is no tensor map\n  at %s:%d", name_of(place), place.line);
    if (box.map.rank != at.size()) fail(ILLEGAL_STATE, "a copy of a box by %zu axes from a tensor of %u\n  at %s:%d", at.size(), box.map.rank, name_of(place), place.line);
    if (place_in_shared(to) % 128) fail(MISALIGNED, "a box is brought to shared memory that is not aligned to 128 bytes\n  at %s:%d", name_of(place), place.line);
    if (!barrier_at(barrier, place).known_to_unit) fail(ILLEGAL_STATE, "a copy of a box to a barrier with no fence.mbarrier_init behind its begin\n  at %s:%d", name_of(place), place.line);
    box.known = known(); step();
    boxes.push_back(std::move(box));
    if (order.kind == Order::REVERSE || (order.kind == Order::SHUFFLED && roll() & 1)) {
        Box last = std::move(boxes.back()); boxes.pop_back();
        as_unit(last.known, [&] { bring(last); });
    }
}
void put_box(const void* map, int inner, int outer, int batch, const void* from, Place place, const void* caller) {
    Put one{Box{static_cast<unsigned char*>(const_cast<void*>(from)), {}, {inner, outer, batch}, nullptr, {}, caller}, false};
    memcpy(&one.box.map, map, sizeof one.box.map);
    if (one.box.map.magic != Map::MAGIC) fail(ILLEGAL_ADDRESS, "a copy of a box by what is no tensor map\n  at %s:%d", name_of(place), place.line);
    if (place_in_shared(from) % 128) fail(MISALIGNED, "a box is copied from shared memory that is not aligned to 128 bytes\n  at %s:%d", name_of(place), place.line);
    one.box.known = known(); step();
    if (order.kind == Order::REVERSE || (order.kind == Order::SHUFFLED && roll() & 1)) put(one);
    hand().puts.push_back(std::move(one));
}
void put_commit() { Hand& h = hand(); h.put_groups.push_back(std::move(h.puts)); h.puts.clear(); }
void put_wait(unsigned pending) {
    while (hand().put_groups.size() > pending) {
        std::vector<Put> group = std::move(hand().put_groups.front()); hand().put_groups.erase(hand().put_groups.begin());
        for (Put& one : group) { put(one); learn(one.box.known); }
    }
}
void fence_async() { hand().fenced = clock_of(current->linear); step(); }

void wgmma_fence(Place place) { exchange(~0u, nullptr, 0, place); Hand& h = hand(); h.begun = true; h.touched.clear(); }
static void begin_product(Product p, Place place) {
    for (unsigned long long operand : {p.registers ? p.b : p.a, p.b})
        if (operand >> 62 != 1 || operand >> 49 & 7) fail(ILLEGAL_STATE, "only operands with the 128-byte swizzle are emulated, from its beginning on\n  at %s:%d", name_of(place), place.line);
    if (p.size != 2 && (p.a_turned || p.b_turned)) fail(ILLEGAL_STATE, "only numbers of 16 bits may lie turned\n  at %s:%d", name_of(place), place.line);
    Hand& h = hand();
    if (!h.begun || h.has_touched(p.sums, p.count, false)) fail(ILLEGAL_STATE, "products of four warps change sums that this thread touched with no wgmma.fence behind it\n  at %s:%d", name_of(place), place.line);
    if (p.registers && h.has_touched(p.registers, 4, true)) fail(ILLEGAL_STATE, "products of four warps read registers that this thread wrote with no wgmma.fence behind it\n  at %s:%d", name_of(place), place.line);
    h.open.push_back(p);
}
void wgmma(float* sums, unsigned count, unsigned long long a, unsigned long long b, bool a_turned, bool b_turned, unsigned size, float (*number)(const void*), bool add, Place place, const void* caller) {
    exchange(~0u, nullptr, 0, place);
    begin_product(Product{sums, count, a, b, a_turned, b_turned, size, number, add, caller}, place);
}
void wgmma_of_registers(float* sums, unsigned count, const unsigned* a, unsigned long long b, bool b_turned, float (*number)(const void*), bool add, Place place, const void* caller) {
    const unsigned char* slots = exchange(~0u, a, 16, place) + current->lane / 4 * 4 * SLOT;
    Product p{sums, count, 0, b, false, b_turned, 2, number, add, caller, a};
    for (unsigned h = 0; h < 2; h++) for (unsigned k = 0; k < 16; k++) p.rows[h][k] = number(slots + k % 8 / 2 * SLOT + (k / 8 * 2 + h) * 4 + k % 2 * 2);
    begin_product(p, place);
}
void wgmma_commit(Place place) { exchange(~0u, nullptr, 0, place); Hand& h = hand(); h.groups.push_back(std::move(h.open)); h.open.clear(); }
void wgmma_wait(unsigned pending, Place place) {
    Hand& h = hand();
    while (h.groups.size() > pending) {
        std::vector<Product> group = std::move(h.groups.front()); h.groups.erase(h.groups.begin());
        for (const Product& p : group) multiply(p);
    }
    warp_barrier(~0u, place);                                // the warp goes on together, when what it asked for is done
}
} // namespace emulator
