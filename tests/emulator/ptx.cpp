// ptx.cpp - kernels that exist as PTX text only: those that formulas write. Such a text is one entry of straight lines, with
// guards, loads, stores and now and then a loop. It is read once into steps that work on a file of 64-bit registers, and
// each thread walks through them; every access to memory is judged as those of compiled kernels are.
#include "runtime.h"
#include <cstdio>
#include <functional>

namespace emulator {
namespace {
using Word = unsigned long long;
struct Step;
using Work = void (*)(Word* file, const Step& step);
constexpr unsigned NONE = ~0u;

struct Step {
    enum { WORK, LOAD, STORE, ARGUMENT, JUMP, LEAVE } kind = WORK;
    Work work = nullptr;
    unsigned place[8] = {};                                  // registers: the result first, then what is read
    unsigned count = 0;
    unsigned guard = NONE; bool guarded_by = true;           // runs only where the guard is this
    unsigned bytes = 0, pieces = 1; long long offset = 0;    // of an access; the address is in `address`, NONE at a parameter
    unsigned address = NONE; bool is_signed = false;
    size_t target = 0;                                       // of a jump
    std::string text;
};

struct Text {
    std::vector<Step> steps;
    std::vector<Word> file;                                  // registers before the first step: literals, the rest is to be written
    std::vector<unsigned> offsets, sizes;                    // of the parameters in one block
    size_t bytes = 0;
    unsigned special[4] = {NONE, NONE, NONE, NONE};          // %tid.x, %ctaid.x, %ctaid.y, %ntid.x
    unsigned table = NONE; size_t table_at = 0;              // a register that holds the address of a parameter
};

// ------------------------------------------------------------------------------------------ numbers in registers
template <class T> T get(Word word) { T x; memcpy(&x, &word, sizeof x); return x; }
template <class T> Word put(T x) { Word word = 0; memcpy(&word, &x, sizeof x); return word; }

unsigned short to_f16(float x) {
    unsigned bits = get<unsigned>(put(x)), sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    if (size > 0x7f800000) return 0x7fff;
    if (size >= 0x47800000) return (unsigned short)(sign | 0x7c00);
    if (size < 0x38800000) {                                 // subnormal: in units of 2^-24
        float units = fabsf(x) * 16777216.0f;
        return (unsigned short)(sign | unsigned(nearbyintf(units)));
    }
    unsigned rounded = size + 0xfff + (size >> 13 & 1);      // to the nearest, ties to even
    return (unsigned short)(sign | ((rounded - 0x38000000) >> 13));
}
float from_f16(unsigned short half) {
    unsigned exponent = half >> 10 & 31, mantissa = half & 1023;
    float size = exponent == 0 ? ldexpf(float(mantissa), -24) : exponent < 31 ? ldexpf(float(mantissa | 1024), int(exponent) - 25)
               : mantissa ? NAN : INFINITY;
    return half & 0x8000 ? -size : size;
}
unsigned short to_bf16(float x) {
    unsigned bits = get<unsigned>(put(x));
    if (x != x) return 0x7fff;
    return (unsigned short)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// -0 is smaller than 0. A NaN is kept, or not taken where there is a number.
float extreme(float a, float b, bool smaller, bool keeps) {
    if (a != a || b != b) return keeps ? NAN : a != a ? b : a;
    if (a == b) return std::signbit(a) == smaller ? a : b;
    return (a < b) == smaller ? a : b;
}
// What is within a unit in the last place of it may come out, so here anything within two does. But where all of a number's digits are set the
// nearest has to: else no quotient by it would be right, those that the assembler itself makes of div.rn neither.
float nearly_inverse(float x) {
    unsigned bits = get<unsigned>(put(x)), off = (bits & 0x7fffff) == 0x7fffff ? 2 : (bits * 2654435761u >> 16) % 5;
    if (x != x) return NAN;
    if ((bits & 0x7f800000) == 0) return std::copysign(INFINITY, x);
    if (std::isinf(x)) return std::copysign(0.0f, x);
    float inverse = get<float>(put(get<unsigned>(put(1 / x)) + off - 2));
    return std::fabs(inverse) < 1.17549435e-38f ? std::copysign(0.0f, x) : inverse;
}

// ------------------------------------------------------------------------------------------ operations by name
#define A get<T>(file[step.place[1]])
#define B get<T>(file[step.place[2]])
#define C get<T>(file[step.place[3]])
#define GIVES(expression) [](Word* file, const Step& step) { file[step.place[0]] = put(expression); }

template <class T> void floats(std::map<std::string, Work>& all, const std::string& t) {
    all["add.rn." + t] = GIVES(T(A + B));
    all["sub.rn." + t] = GIVES(T(A - B));
    all["mul.rn." + t] = GIVES(T(A * B));
    all["div.rn." + t] = GIVES(T(A / B));
    all["fma.rn." + t] = GIVES(T(std::fma(A, B, C)));
    all["sqrt.rn." + t] = GIVES(T(std::sqrt(A)));
    all["neg." + t] = GIVES(T(-A));
    all["abs." + t] = GIVES(T(std::fabs(A)));
    all["copysign." + t] = GIVES(T(std::copysign(B, A)));
    all["mov." + t] = GIVES(A);
    all["selp." + t] = GIVES((file[step.place[3]] ? A : B));
    all["setp.lt." + t] = GIVES(Word(A < B));
    all["setp.le." + t] = GIVES(Word(A <= B));
    all["setp.eq." + t] = GIVES(Word(A == B));
    all["setp.neu." + t] = GIVES(Word(!(A == B)));
    all["cvt.rmi." + t + "." + t] = GIVES(T(std::floor(A)));
    all["cvt.rpi." + t + "." + t] = GIVES(T(std::ceil(A)));
    all["cvt.rni." + t + "." + t] = GIVES(T(std::nearbyint(A)));
    all["cvt.rzi." + t + "." + t] = GIVES(T(std::trunc(A)));
}
template <class T> T divided(T a, T b, bool rest) {
    if (b == 0 || (std::is_signed<T>::value && b == T(-1))) fail(ILLEGAL_STATE, "a whole number divided by 0 or -1");
    return rest ? T(a % b) : T(a / b);
}
template <class T> void wholes(std::map<std::string, Work>& all, const std::string& t) {
    typedef typename std::make_unsigned<T>::type U;
    all["add." + t] = GIVES(T(U(A) + U(B)));
    all["sub." + t] = GIVES(T(U(A) - U(B)));
    all["mul.lo." + t] = GIVES(T(U(A) * U(B)));
    all["mad.lo." + t] = GIVES(T(U(A) * U(B) + U(C)));
    all["div." + t] = GIVES(divided<T>(A, B, false));
    all["rem." + t] = GIVES(divided<T>(A, B, true));
    all["min." + t] = GIVES((A < B ? A : B));
    all["max." + t] = GIVES((A < B ? B : A));
    all["setp.lt." + t] = GIVES(Word(A < B));
    all["setp.le." + t] = GIVES(Word(A <= B));
    all["setp.eq." + t] = GIVES(Word(A == B));
    all["setp.ne." + t] = GIVES(Word(A != B));
    all["setp.gt." + t] = GIVES(Word(A > B));
    all["setp.ge." + t] = GIVES(Word(A >= B));
    all["cvt.rn.f32." + t] = GIVES(float(A));
    all["cvt.rn.f64." + t] = GIVES(double(A));
}
template <class T> void digits(std::map<std::string, Work>& all, const std::string& bits) {
    constexpr unsigned most = sizeof(T) * 8;                 // a shift by more gives 0
    all["and.b" + bits] = GIVES(T(A & B));
    all["or.b" + bits] = GIVES(T(A | B));
    all["shl.b" + bits] = GIVES(T(get<unsigned>(file[step.place[2]]) >= most ? 0 : A << get<unsigned>(file[step.place[2]])));
    all["shr.u" + bits] = GIVES(T(get<unsigned>(file[step.place[2]]) >= most ? 0 : A >> get<unsigned>(file[step.place[2]])));
    all["mov.b" + bits] = all["mov.u" + bits] = GIVES(A);
    all["selp.b" + bits] = GIVES((file[step.place[3]] ? A : B));
}
template <class To, class From> Work convert() {
    return [](Word* file, const Step& step) { file[step.place[0]] = put(To(get<From>(file[step.place[1]]))); };
}

const std::map<std::string, Work>& operations() {
    static const std::map<std::string, Work> all = [] {
        std::map<std::string, Work> all;
        floats<float>(all, "f32"); floats<double>(all, "f64");
        wholes<int>(all, "s32"); wholes<unsigned>(all, "u32"); wholes<long long>(all, "s64"); wholes<Word>(all, "u64");
        wholes<unsigned short>(all, "u16");
        digits<unsigned short>(all, "16"); digits<unsigned>(all, "32"); digits<Word>(all, "64");
        typedef Word T;
        all["and.pred"] = GIVES(Word(A & B)); all["or.pred"] = GIVES(Word(A | B));
        all["xor.pred"] = GIVES(Word(A ^ B)); all["not.pred"] = GIVES(Word(!A));
        all["mad.wide.u32"] = GIVES(Word(unsigned(A)) * unsigned(B) + C);
        all["cvt.f64.f32"] = convert<double, float>(); all["cvt.rn.f32.f64"] = convert<float, double>();
        all["cvt.u64.u32"] = convert<Word, unsigned>(); all["cvt.u32.u64"] = convert<unsigned, Word>();
        all["cvt.s64.s32"] = convert<long long, int>(); all["cvt.s32.s64"] = convert<int, long long>();
        all["cvt.s64.u16"] = convert<long long, unsigned short>(); all["cvt.s32.u16"] = convert<int, unsigned short>();
        all["cvt.u32.u16"] = convert<unsigned, unsigned short>(); all["cvt.u16.u32"] = convert<unsigned short, unsigned>();
        all["cvt.f32.f16"] = GIVES(from_f16(get<unsigned short>(A)));
        all["cvt.rn.f16.f32"] = GIVES(to_f16(get<float>(A)));
        all["cvt.rn.bf16.f32"] = GIVES(to_bf16(get<float>(A)));
        all["cvt.rn.f16x2.f32"] = GIVES(unsigned(to_f16(get<float>(B)) | unsigned(to_f16(get<float>(A))) << 16));
        all["cvt.rn.bf16x2.f32"] = GIVES(unsigned(to_bf16(get<float>(B)) | unsigned(to_bf16(get<float>(A))) << 16));
        all["min.f32"] = GIVES(extreme(get<float>(A), get<float>(B), true, false));
        all["max.f32"] = GIVES(extreme(get<float>(A), get<float>(B), false, false));
        all["min.NaN.f32"] = GIVES(extreme(get<float>(A), get<float>(B), true, true));
        all["max.NaN.f32"] = GIVES(extreme(get<float>(A), get<float>(B), false, true));
        all["rcp.approx.ftz.f32"] = GIVES(nearly_inverse(get<float>(A)));
        return all;
    }();
    return all;
}
#undef A
#undef B
#undef C
#undef GIVES

// ------------------------------------------------------------------------------------------ reading
unsigned bytes_of(const std::string& type) {                 // "f32", "b8", "u64"
    unsigned bits = unsigned(atoi(type.c_str() + 1));
    return bits / 8;
}

struct Reader {
    const std::string& text;
    Text result;
    std::map<std::string, unsigned> registers, literals;
    std::map<std::string, size_t> labels, parameters;        // a parameter's number
    std::vector<bool> written;                               // which registers a line has written so far, or nobody has to
    std::string wrong;

    explicit Reader(const std::string& t) : text(t) {}
    void refuse(const std::string& what) { if (wrong.empty()) wrong = "the PTX interpreter does not know: " + what; }
    static std::string trimmed(const std::string& s) {
        size_t a = s.find_first_not_of(" \t\n"), b = s.find_last_not_of(" \t\n");
        return a == std::string::npos ? "" : s.substr(a, b - a + 1);
    }
    static std::vector<std::string> split(const std::string& s, char by) {
        std::vector<std::string> parts; size_t from = 0; int depth = 0;
        for (size_t i = 0; i <= s.size(); i++) {
            if (i < s.size() && s[i] == '{') depth++;
            if (i < s.size() && s[i] == '}') depth--;
            if (i == s.size() || (s[i] == by && !depth)) { parts.push_back(trimmed(s.substr(from, i - from))); from = i + 1; }
        }
        return parts;
    }
    unsigned fresh(Word word, bool is_there = true) {
        result.file.push_back(word); written.push_back(is_there);
        return unsigned(result.file.size() - 1);
    }
    // The place of a register or of a literal.
    unsigned place(const std::string& name) {
        if (name[0] == '%') {
            unsigned which = name == "%tid.x" ? 0 : name == "%ctaid.x" ? 1 : name == "%ctaid.y" ? 2 : name == "%ntid.x" ? 3 : 4;
            if (which < 4) { if (result.special[which] == NONE) result.special[which] = fresh(0); return result.special[which]; }
            auto found = registers.find(name);
            if (found == registers.end()) { refuse("the register " + name); return 0; }
            return found->second;
        }
        if (parameters.count(name)) {                        // its address
            if (result.table == NONE) { result.table = fresh(0); result.table_at = result.offsets[parameters[name]]; }
            return result.table;
        }
        auto found = literals.find(name);
        if (found != literals.end()) return found->second;
        Word word;
        if (name.rfind("0f", 0) == 0 || name.rfind("0d", 0) == 0) word = strtoull(name.c_str() + 2, nullptr, 16);
        else { char* end; word = Word(strtoll(name.c_str(), &end, 10)); if (*end || name.empty()) refuse("the operand " + name); }
        return literals[name] = fresh(word);
    }
    void declare(const std::string& line) {                  // .reg .f32 %f<12>
        std::vector<std::string> words = split(line, ' ');
        const std::string& name = words.back(); size_t open = name.find('<');
        if (open == std::string::npos) return refuse(line);
        for (int k = 0; k < atoi(name.c_str() + open + 1); k++)
            registers[name.substr(0, open) + std::to_string(k)] = fresh(0, false);
    }
    void parameter(const std::string& line) {                // .param .u64 name, .param .align 8 .b8 name[64]
        std::vector<std::string> words = split(line, ' '); std::string name = words.back(); unsigned size = 0;
        for (auto& word : words) if (word.size() > 2 && strchr("ufsb", word[1]) && isdigit(word[2])) size = bytes_of(word.substr(1));
        size_t open = name.find('[');
        if (open != std::string::npos) { size *= unsigned(atoi(name.c_str() + open + 1)); name.resize(open); }
        result.bytes = (result.bytes + 7) / 8 * 8;
        parameters[name] = result.offsets.size();
        result.offsets.push_back(unsigned(result.bytes)); result.sizes.push_back(size); result.bytes += size;
    }
    // [%l4+8] or [name]
    void address(const std::string& operand, Step& step) {
        std::string inner = operand.substr(1, operand.size() - 2);
        size_t plus = inner.find('+');
        if (plus != std::string::npos) { step.offset = atoll(inner.c_str() + plus + 1); inner.resize(plus); }
        if (inner[0] == '%') step.address = place(inner);
        else if (parameters.count(inner)) step.offset += result.offsets[parameters[inner]];
        else refuse("the address " + operand);
    }
    void access(const std::string& operation, const std::vector<std::string>& operands, Step& step) {
        std::vector<std::string> words = split(operation, '.');
        bool store = words[0] == "st", argument = words[1] == "param";
        if (operands.size() != 2 || (words[1] != "global" && !argument) || (argument && store)) return refuse(step.text);
        step.kind = store ? Step::STORE : argument ? Step::ARGUMENT : Step::LOAD;
        step.bytes = bytes_of(words.back()); step.is_signed = words.back()[0] == 's';
        for (size_t w = 2; w + 1 < words.size(); w++) {
            if (words[w] == "v2" || words[w] == "v4") step.pieces = unsigned(words[w][1] - '0'); else refuse(operation);
        }
        address(operands[store ? 0 : 1], step);
        std::string list = operands[store ? 1 : 0];
        if (list[0] == '{') list = list.substr(1, list.size() - 2);
        for (auto& one : split(list, ',')) step.place[step.count++] = place(one);
        if (step.count != step.pieces) refuse(step.text);
    }
    void line(std::string text) {
        Step step; step.text = text;
        if (text[0] == '@') {
            size_t end = text.find(' '); step.guarded_by = text[1] != '!';
            step.guard = place(text.substr(step.guarded_by ? 1 : 2, end - (step.guarded_by ? 1 : 2)));
            text = trimmed(text.substr(end));
        }
        size_t end = text.find(' ');
        std::string operation = text.substr(0, end);
        std::vector<std::string> operands;
        if (end != std::string::npos) operands = split(text.substr(end), ',');
        if (operation == "ret") step.kind = Step::LEAVE;
        else if (operation == "bra") { step.kind = Step::JUMP; step.text = operands[0]; }
        else if (operation.rfind("ld.", 0) == 0 || operation.rfind("st.", 0) == 0) access(operation, operands, step);
        else {
            auto known = operations().find(operation);
            if (known == operations().end() || operands.size() > 4) return refuse(step.text);
            step.work = known->second;
            for (auto& operand : operands) step.place[step.count++] = place(operand);
        }
        follows(step);
        result.steps.push_back(step);
    }
    // No line reads what none before it has written.
    void follows(const Step& step) {
        auto reads = [&](unsigned place) { if (place != NONE && !written[place]) refuse("what is in the registers that this reads: " + step.text); };
        reads(step.guard); reads(step.address);
        bool gives = step.kind == Step::LOAD || step.kind == Step::ARGUMENT;
        for (unsigned k = step.kind == Step::WORK ? 1 : 0; k < step.count && !gives; k++) reads(step.place[k]);
        for (unsigned k = 0; k < step.count && (gives || (step.kind == Step::WORK && k == 0)); k++) written[step.place[k]] = true;
    }
    bool read(const std::string& entry) {
        size_t at = text.find(".entry " + entry + "(");
        if (at == std::string::npos) { wrong = "the PTX has no entry " + entry; return false; }
        size_t open = text.find('(', at), close = text.find(')', open), begin = text.find('{', close), end = text.rfind('}');
        for (auto& one : split(text.substr(open + 1, close - open - 1), ',')) if (!one.empty()) parameter(one);
        std::string body;                                    // without comments
        for (size_t from = begin + 1; from < end;) {
            size_t stop = std::min(text.find('\n', from), end); std::string one = text.substr(from, stop - from);
            body += one.substr(0, one.find("//")) + "\n"; from = stop + 1;
        }
        for (size_t from = 0; from < body.size() && wrong.empty();) {
            size_t stop = body.find_first_of(";:", from);
            if (stop == std::string::npos) break;
            std::string one = trimmed(body.substr(from, stop - from)); from = stop + 1;
            if (body[stop] == ':') labels[one] = result.steps.size();
            else if (one.rfind(".reg", 0) == 0) declare(one);
            else if (!one.empty()) line(one);
        }
        for (Step& step : result.steps) if (step.kind == Step::JUMP) {
            if (!labels.count(step.text)) refuse("the label " + step.text); else step.target = labels[step.text];
        }
        return wrong.empty();
    }
};

// ------------------------------------------------------------------------------------------ running
struct Interpreted : Kernel {
    std::shared_ptr<const Text> text;
    explicit Interpreted(Text t) : text(std::make_shared<const Text>(std::move(t))) {}
    struct Call : Launch {
        std::shared_ptr<const Text> text; std::vector<unsigned char> block;
        std::vector<Word> registers;                         // of one thread after another: fibers that never wait can share them
        void load(Word* file, const Step& step) const {
            auto from = reinterpret_cast<const unsigned char*>(file[step.address] + Word(step.offset));
            if (Word(from) % (step.bytes * step.pieces)) fail(MISALIGNED, "a misaligned read\n  by %s", step.text.c_str());
            access(from, step.bytes * step.pieces, READ, nullptr);
            for (unsigned k = 0; k < step.pieces; k++) { Word word = 0; memcpy(&word, from + k * step.bytes, step.bytes); file[step.place[k]] = word; }
        }
        void store(const Word* file, const Step& step) const {
            auto to = reinterpret_cast<unsigned char*>(file[step.address] + Word(step.offset));
            if (Word(to) % (step.bytes * step.pieces)) fail(MISALIGNED, "a misaligned write\n  by %s", step.text.c_str());
            access(to, step.bytes * step.pieces, WRITE, nullptr);
            for (unsigned k = 0; k < step.pieces; k++) memcpy(to + k * step.bytes, &file[step.place[k]], step.bytes);
        }
        void argument(Word* file, const Step& step) const {
            // An address in a register is that of the block of arguments.
            size_t at = (step.address == NONE ? 0 : size_t(file[step.address] - Word(block.data()))) + size_t(step.offset);
            if (at + step.bytes > block.size()) fail(ILLEGAL_ADDRESS, "a read beyond the parameters\n  by %s", step.text.c_str());
            Word word = 0; memcpy(&word, block.data() + at, step.bytes); file[step.place[0]] = word;
        }
        void run() override {
            Word* file = registers.data();
            const unsigned special[4] = {current->index.x, block_index.x, block_index.y, block_size.x};
            for (int k = 0; k < 4; k++) if (text->special[k] != NONE) file[text->special[k]] = special[k];
            if (text->table != NONE) file[text->table] = Word(block.data()) + text->table_at;
            const std::vector<Step>& steps = text->steps;
            for (size_t at = 0; at < steps.size(); at++) {
                const Step& step = steps[at];
                if (step.guard != NONE && bool(file[step.guard]) != step.guarded_by) continue;
                switch (step.kind) {
                    case Step::WORK: step.work(file, step); break;
                    case Step::LOAD: load(file, step); break;
                    case Step::STORE: store(file, step); break;
                    case Step::ARGUMENT: argument(file, step); break;
                    case Step::JUMP: at = step.target - 1; break;
                    case Step::LEAVE: return;
                }
            }
        }
    };
    std::unique_ptr<Launch> bind(void** arguments) const override {
        auto call = std::make_unique<Call>(); call->text = text; call->registers = text->file; call->block.assign(text->bytes, 0);
        for (size_t k = 0; k < text->sizes.size(); k++) memcpy(call->block.data() + text->offsets[k], arguments[k], text->sizes[k]);
        return call;
    }
};
} // namespace

std::shared_ptr<const Kernel> read_ptx(const std::string& text, const std::string& entry, std::string& reason) {
    Reader reader(text);
    if (!reader.read(entry)) { reason = reader.wrong; return nullptr; }
    return std::make_shared<Interpreted>(std::move(reader.result));
}
} // namespace emulator
