// What each instruction of PTX does, on 32 lanes at once, and the decoder that selects it by name.
#include <algorithm>
#include <cfenv>
#include <cmath>
#include <functional>
#include <limits>
#include <unordered_map>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "kernels/cuda/emulator/machine.h"

#if defined(__clang__)
#define VITRINE_LANES _Pragma("clang loop vectorize(assume_safety)") for (int l = 0; l < lanes; ++l)
#else
#define VITRINE_LANES _Pragma("GCC ivdep") for (int l = 0; l < lanes; ++l)
#endif

namespace vitrine::ptx {
namespace {

// --- registers

__extension__ typedef __int128 i128;
__extension__ typedef unsigned __int128 u128;

struct half {};  // tags of the 16-bit formats
struct bhalf {};

float half_to_float(u16 h) {
  const u32 sign = u32{h} >> 15 << 31, exponent = h >> 10 & 31, fraction = h & 1023;
  if (exponent == 0) {
    const float v = static_cast<float>(fraction) * 0x1p-24f;
    return sign != 0 ? -v : v;
  }
  const u32 bits = sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | fraction << 13;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}

u16 float_to_half(float f) {
  u32 bits;
  std::memcpy(&bits, &f, 4);
  const u32 sign = bits >> 31 << 15;
  const float a = std::fabs(f);
  if (a != a) return static_cast<u16>(sign | 0x7fff);
  if (a >= 65520.0f) return static_cast<u16>(sign | 0x7c00);
  if (a < 0x1p-14f) return static_cast<u16>(sign | static_cast<u32>(std::nearbyint(a * 0x1p24f)));
  const u32 magnitude = bits & 0x7fffffff;
  return static_cast<u16>(sign | ((magnitude - (112u << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13));
}

float bhalf_to_float(u16 h) {
  const u32 bits = u32{h} << 16;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}

u16 float_to_bhalf(float f) {
  u32 bits;
  std::memcpy(&bits, &f, 4);
  if (f != f) return 0x7fff;
  return static_cast<u16>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// A register of type T: elements as the instruction reads and writes them. 8- and 16-bit types live in 32-bit words.
template <class T>
struct View {
  using Value = T;
  const T* p;
  T operator[](int l) const noexcept { return p[l]; }
};
template <class T, class Small>
struct SmallView {
  using Value = T;
  const u32* p;
  T operator[](int l) const noexcept { return static_cast<T>(static_cast<Small>(p[l])); }
};
template <class T>
auto view(Warp& w, i32 place) {
  if constexpr (sizeof(T) >= 4)
    return View<T>{reinterpret_cast<const T*>(w.at(place))};
  else
    return SmallView<T, T>{w.at(place)};
}

// d[l] = f(l) for the lanes of the mask.
template <class T, class F>
inline void put(Warp& w, i32 place, u32 m, F&& f) {
  using Word = std::conditional_t<sizeof(T) == 8, T, std::conditional_t<sizeof(T) == 4, T, u32>>;
  Word* const d = reinterpret_cast<Word*>(w.at(place));
  const auto value = [&](int l) {
    if constexpr (sizeof(T) >= 4)
      return f(l);
    else
      return static_cast<u32>(static_cast<std::make_unsigned_t<T>>(f(l)));
  };
  if (m == all_lanes) {
    VITRINE_LANES d[l] = value(l);
  } else {
    const u32* const k = w.lane_words(m);
    VITRINE_LANES {
      const Word v = value(l);
      d[l] = k[l] != 0 ? v : d[l];
    }
  }
}

// The lanes for which f(l) holds, as bits.
template <class F>
inline u32 collect(F&& f) {
  alignas(32) u8 t[lanes];
  VITRINE_LANES t[l] = f(l) ? 0xff : 0;
#if defined(__AVX2__)
  return static_cast<u32>(_mm256_movemask_epi8(_mm256_load_si256(reinterpret_cast<const __m256i*>(t))));
#else
  u32 bits = 0;
  for (int l = 0; l < lanes; ++l) bits |= static_cast<u32>(t[l] & 1) << l;
  return bits;
#endif
}

inline void put_predicate(Warp& w, i32 place, u32 m, u32 bits) {
  u32& p = *w.at(place);
  p = (p & ~m) | (bits & m);
}

template <class F>
inline void each(u32 m, F&& f) {
  for (; m != 0; m &= m - 1) f(__builtin_ctz(m));
}

// --- arithmetic

template <class T>
using Unsigned = std::make_unsigned_t<T>;

// Integer arithmetic wraps; the file is compiled with -fwrapv.
struct Add {
  template <class T>
  static T f(T a, T b) {
    return static_cast<T>(a + b);
  }
};
struct Sub {
  template <class T>
  static T f(T a, T b) {
    return static_cast<T>(a - b);
  }
};
struct Mul {
  template <class T>
  static T f(T a, T b) {
    return static_cast<T>(a * b);
  }
};
struct MulHigh {
  template <class T>
  static T f(T a, T b) {
    if constexpr (sizeof(T) == 8) {
      using Wide = std::conditional_t<std::is_signed_v<T>, i128, u128>;
      return static_cast<T>((static_cast<Wide>(a) * static_cast<Wide>(b)) >> 64);
    } else {
      using Wide = std::conditional_t<std::is_signed_v<T>, i64, u64>;
      return static_cast<T>((static_cast<Wide>(a) * static_cast<Wide>(b)) >> (8 * sizeof(T)));
    }
  }
};
struct Div {
  template <class T>
  static T f(T a, T b) {
    if constexpr (std::is_floating_point_v<T>)
      return a / b;
    else if (b == 0)
      return static_cast<T>(~T{0});
    else if constexpr (std::is_signed_v<T>)
      return b == -1 ? static_cast<T>(-a) : static_cast<T>(a / b);
    else
      return static_cast<T>(a / b);
  }
};
struct Rem {
  template <class T>
  static T f(T a, T b) {
    if (b == 0) return a;
    if constexpr (std::is_signed_v<T>)
      return b == -1 ? T{0} : static_cast<T>(a % b);
    else
      return static_cast<T>(a % b);
  }
};
// Given a number and a NaN, the number.
struct Min {
  template <class T>
  static T f(T a, T b) {
    if constexpr (std::is_floating_point_v<T>)
      return a != a ? b : b != b ? a : a == b ? (std::signbit(a) ? a : b) : a < b ? a : b;
    else
      return a < b ? a : b;
  }
};
struct Max {
  template <class T>
  static T f(T a, T b) {
    if constexpr (std::is_floating_point_v<T>)
      return a != a ? b : b != b ? a : a == b ? (std::signbit(a) ? b : a) : a > b ? a : b;
    else
      return a > b ? a : b;
  }
};
struct And {
  template <class T>
  static T f(T a, T b) {
    return static_cast<T>(a & b);
  }
};
struct Or {
  template <class T>
  static T f(T a, T b) {
    return static_cast<T>(a | b);
  }
};
struct Xor {
  template <class T>
  static T f(T a, T b) {
    return static_cast<T>(a ^ b);
  }
};
struct CopySign {  // of PTX: the sign of a, the rest of b
  template <class T>
  static T f(T a, T b) {
    return std::copysign(b, a);
  }
};
struct MinNan {
  template <class T>
  static T f(T a, T b) {
    return a != a || b != b ? std::numeric_limits<T>::quiet_NaN() : Min::f(a, b);
  }
};
struct MaxNan {
  template <class T>
  static T f(T a, T b) {
    return a != a || b != b ? std::numeric_limits<T>::quiet_NaN() : Max::f(a, b);
  }
};

struct Neg {
  template <class T>
  static T f(T a) {
    return static_cast<T>(-a);
  }
};
struct Abs {
  template <class T>
  static T f(T a) {
    if constexpr (std::is_floating_point_v<T>)
      return std::fabs(a);
    else
      return static_cast<T>(a < 0 ? -a : a);
  }
};
struct Not {
  template <class T>
  static T f(T a) {
    return static_cast<T>(~a);
  }
};
struct Move {
  template <class T>
  static T f(T a) {
    return a;
  }
};
struct Sqrt {
  template <class T>
  static T f(T a) {
    return std::sqrt(a);
  }
};
struct Reciprocal {
  template <class T>
  static T f(T a) {
    return T{1} / a;
  }
};

// Arithmetic in float has one NaN, 0x7fffffff, whatever the operands.
template <class T>
inline T arithmetic(T v) {
  if constexpr (std::is_same_v<T, float>) {
    constexpr u32 bits = 0x7fffffff;
    float nan;
    std::memcpy(&nan, &bits, 4);
    return v != v ? nan : v;
  } else {
    return v;
  }
}
template <class Op>
constexpr bool keeps_bits =
    std::is_same_v<Op, Move> || std::is_same_v<Op, Neg> || std::is_same_v<Op, Abs> || std::is_same_v<Op, CopySign>;

template <class T, class Op>
void unary(Warp& w, const Insn& i, u32 m) {
  const auto a = view<T>(w, i.op[1]);
  put<T>(w, i.op[0], m, [&](int l) { return keeps_bits<Op> ? Op::f(a[l]) : arithmetic(Op::f(a[l])); });
}
template <class T, class Op>
void binary(Warp& w, const Insn& i, u32 m) {
  const auto a = view<T>(w, i.op[1]);
  const auto b = view<T>(w, i.op[2]);
  put<T>(w, i.op[0], m, [&](int l) { return keeps_bits<Op> ? Op::f(a[l], b[l]) : arithmetic(Op::f(a[l], b[l])); });
}
template <class T>
void mad(Warp& w, const Insn& i, u32 m) {
  const auto a = view<T>(w, i.op[1]), b = view<T>(w, i.op[2]), c = view<T>(w, i.op[3]);
  put<T>(w, i.op[0], m, [&](int l) { return static_cast<T>(a[l] * b[l] + c[l]); });
}
template <class T>
void mad_high(Warp& w, const Insn& i, u32 m) {
  const auto a = view<T>(w, i.op[1]), b = view<T>(w, i.op[2]), c = view<T>(w, i.op[3]);
  put<T>(w, i.op[0], m, [&](int l) { return static_cast<T>(MulHigh::f(a[l], b[l]) + c[l]); });
}
template <class T, class Wide>
void multiply_wide(Warp& w, const Insn& i, u32 m) {
  const auto a = view<T>(w, i.op[1]), b = view<T>(w, i.op[2]);
  put<Wide>(w, i.op[0], m, [&](int l) { return static_cast<Wide>(static_cast<Wide>(a[l]) * static_cast<Wide>(b[l])); });
}
template <class T, class Wide>
void mad_wide(Warp& w, const Insn& i, u32 m) {
  const auto a = view<T>(w, i.op[1]), b = view<T>(w, i.op[2]);
  const auto c = view<Wide>(w, i.op[3]);
  put<Wide>(w, i.op[0], m,
            [&](int l) { return static_cast<Wide>(static_cast<Wide>(a[l]) * static_cast<Wide>(b[l]) + c[l]); });
}
template <class T>
void fused(Warp& w, const Insn& i, u32 m) {
  const auto a = view<T>(w, i.op[1]), b = view<T>(w, i.op[2]), c = view<T>(w, i.op[3]);
  put<T>(w, i.op[0], m, [&](int l) { return arithmetic(std::fma(a[l], b[l], c[l])); });
}

// Modifiers that few instructions have: other roundings, saturation to [0,1], flushing of subnormals.
enum Rounding : u8 { nearest, to_zero, down, up };

template <class T>
T flushed(T v) {
  return std::fpclassify(v) == FP_SUBNORMAL ? std::copysign(T{0}, v) : v;
}
template <class T>
T modified(T v, u8 flags) {
  if ((flags & saturate) != 0) v = v != v ? T{0} : std::fmin(std::fmax(v, T{0}), T{1});
  if ((flags & flush) != 0) v = flushed(v);
  return arithmetic(v);
}
int mode_of(u8 rounding) {
  return rounding == to_zero ? FE_TOWARDZERO
         : rounding == down  ? FE_DOWNWARD
         : rounding == up    ? FE_UPWARD
                             : FE_TONEAREST;
}
// Hides a value from the compiler, so that nothing is computed outside a rounding mode.
template <class T>
T opaque(T v) {
  volatile T hidden = v;
  return hidden;
}
template <class T, class F>
__attribute__((noinline)) void in_mode(Warp& w, const Insn& i, u32 m, F&& f) {
  T r[lanes];
  std::fesetround(mode_of(i.rounding));
  for (int l = 0; l < lanes; ++l) {
    r[l] = opaque(f(l));
  }
  std::fesetround(FE_TONEAREST);
  put<T>(w, i.op[0], m, [&](int l) { return modified(r[l], i.flags); });
}
template <class T, class Op>
void slow_binary(Warp& w, const Insn& i, u32 m) {
  const auto a = view<T>(w, i.op[1]), b = view<T>(w, i.op[2]);
  in_mode<T>(w, i, m, [&](int l) {
    T x = opaque(a[l]), y = opaque(b[l]);
    if ((i.flags & flush) != 0) x = flushed(x), y = flushed(y);
    return Op::f(x, y);
  });
}
template <class T>
void slow_fused(Warp& w, const Insn& i, u32 m) {
  const auto a = view<T>(w, i.op[1]), b = view<T>(w, i.op[2]), c = view<T>(w, i.op[3]);
  in_mode<T>(w, i, m, [&](int l) {
    T x = opaque(a[l]), y = opaque(b[l]), z = opaque(c[l]);
    if ((i.flags & flush) != 0) x = flushed(x), y = flushed(y), z = flushed(z);
    return std::fma(x, y, z);
  });
}
template <class T, class Op>
void slow_unary(Warp& w, const Insn& i, u32 m) {
  const auto a = view<T>(w, i.op[1]);
  in_mode<T>(w, i, m, [&](int l) {
    T x = opaque(a[l]);
    if ((i.flags & flush) != 0) x = flushed(x);
    return Op::f(x);
  });
}

struct Exp2 {
  static float f(float a) { return std::exp2(a); }
};
struct Log2 {
  static float f(float a) { return std::log2(a); }
};
struct Rsqrt {
  template <class T>
  static T f(T a) {
    return static_cast<T>(1 / std::sqrt(static_cast<double>(a)));
  }
};
struct Sin {
  static float f(float a) { return std::sin(a); }
};
struct Cos {
  static float f(float a) { return std::cos(a); }
};
struct Tanh {
  static float f(float a) { return std::tanh(a); }
};
struct ReciprocalHigh {  // rcp.approx.ftz.f64: the upper word of 1/a, as a start for Newton's iteration
  static double f(double a) {
    double r = 1 / a;
    u64 bits;
    std::memcpy(&bits, &r, 8);
    bits &= ~u64{0xffffffff};
    std::memcpy(&r, &bits, 8);
    return r;
  }
};
struct RsqrtHigh {
  static double f(double a) { return ReciprocalHigh::f(std::sqrt(a)); }
};

// The hardware's approximations are within 2^-22 or so of the true value; with Options::perturb results move by up to
// two units in the last place, by a hash of the result, so that nothing may rely on their last bits.
float perturbed(float v) {
  if (!std::isfinite(v) || v == 0) return v;
  u32 bits;
  std::memcpy(&bits, &v, 4);
  const u32 hash = bits * 2654435761u >> 29;  // 0..7
  bits += hash % 5 - 2;
  float r;
  std::memcpy(&r, &bits, 4);
  return std::isfinite(r) ? r : v;
}
template <class Op>
void approximate_unary(Warp& w, const Insn& i, u32 m) {
  const auto a = view<float>(w, i.op[1]);
  const bool move = w.block->options->perturb, ftz = (i.flags & flush) != 0;
  put<float>(w, i.op[0], m, [&](int l) {
    const float x = ftz ? flushed(a[l]) : a[l];
    float r = Op::f(x);
    if (move) r = perturbed(r);
    return arithmetic(ftz ? flushed(r) : r);
  });
}
void approximate_divide(Warp& w, const Insn& i, u32 m) {
  const auto a = view<float>(w, i.op[1]), b = view<float>(w, i.op[2]);
  const bool move = w.block->options->perturb;
  put<float>(w, i.op[0], m, [&](int l) {
    const float r = a[l] / b[l];
    return arithmetic(move ? perturbed(r) : r);
  });
}

// --- bits

template <class T>
void shift_left(Warp& w, const Insn& i, u32 m) {
  const auto a = view<T>(w, i.op[1]);
  const auto b = view<u32>(w, i.op[2]);
  put<T>(w, i.op[0], m, [&](int l) { return b[l] >= 8 * sizeof(T) ? T{0} : static_cast<T>(a[l] << b[l]); });
}
template <class T>
void shift_right(Warp& w, const Insn& i, u32 m) {
  const auto a = view<T>(w, i.op[1]);
  const auto b = view<u32>(w, i.op[2]);
  constexpr u32 bits = 8 * sizeof(T);
  put<T>(w, i.op[0], m, [&](int l) {
    if constexpr (std::is_signed_v<T>)
      return static_cast<T>(a[l] >> (b[l] >= bits ? bits - 1 : b[l]));
    else
      return b[l] >= bits ? T{0} : static_cast<T>(a[l] >> b[l]);
  });
}
struct Brev {
  template <class T>
  static T f(T a) {
    T r = 0;
    for (unsigned k = 0; k < 8 * sizeof(T); ++k) r = static_cast<T>(r << 1 | (a >> k & 1));
    return r;
  }
};
template <class T, u32 (*F)(T)>
void count_bits(Warp& w, const Insn& i, u32 m) {
  const auto a = view<T>(w, i.op[1]);
  put<u32>(w, i.op[0], m, [&](int l) { return F(a[l]); });
}
u32 popc32(u32 a) { return static_cast<u32>(__builtin_popcount(a)); }
u32 popc64(u64 a) { return static_cast<u32>(__builtin_popcountll(a)); }
u32 clz32(u32 a) { return a == 0 ? 32 : static_cast<u32>(__builtin_clz(a)); }
u32 clz64(u64 a) { return a == 0 ? 64 : static_cast<u32>(__builtin_clzll(a)); }
template <class T>
void bfind(Warp& w, const Insn& i, u32 m) {
  const auto a = view<T>(w, i.op[1]);
  const bool shift_amount = i.imm != 0;
  constexpr u32 bits = 8 * sizeof(T);
  put<u32>(w, i.op[0], m, [&](int l) {
    T v = a[l];
    if constexpr (std::is_signed_v<T>) v = v < 0 ? static_cast<T>(~v) : v;
    if (v == 0) return ~u32{0};
    const u32 top = bits == 64 ? 63 - clz64(static_cast<u64>(v)) : 31 - clz32(static_cast<u32>(v));
    return shift_amount ? bits - 1 - top : top;
  });
}
template <class T>
void bfe(Warp& w, const Insn& i, u32 m) {
  const auto a = view<T>(w, i.op[1]);
  const auto b = view<u32>(w, i.op[2]), c = view<u32>(w, i.op[3]);
  constexpr u32 bits = 8 * sizeof(T);
  put<T>(w, i.op[0], m, [&](int l) {
    const u32 pos = b[l] & 255, len = c[l] & 255;
    if (len == 0) return T{0};
    T r = 0;
    const u32 last = std::min(pos + len - 1, bits - 1);
    const bool sign = std::is_signed_v<T> && (a[l] >> last & 1) != 0;
    for (u32 k = 0; k < bits; ++k) {
      const bool bit = k < len && pos + k < bits ? (a[l] >> (pos + k) & 1) != 0 : sign;
      if (bit) r = static_cast<T>(r | T{1} << k);
    }
    return r;
  });
}
template <class T>
void bfi(Warp& w, const Insn& i, u32 m) {
  const auto a = view<T>(w, i.op[1]), b = view<T>(w, i.op[2]);
  const auto c = view<u32>(w, i.op[3]), d = view<u32>(w, i.op[4]);
  constexpr u32 bits = 8 * sizeof(T);
  put<T>(w, i.op[0], m, [&](int l) {
    const u32 pos = c[l] & 255, len = d[l] & 255;
    if (len == 0 || pos >= bits) return b[l];
    const T ones = len >= bits ? static_cast<T>(~T{0}) : static_cast<T>((T{1} << len) - 1),
            field = static_cast<T>(ones << pos);
    return static_cast<T>((b[l] & ~field) | (a[l] << pos & field));
  });
}
void prmt(Warp& w, const Insn& i, u32 m) {
  const auto a = view<u32>(w, i.op[1]), b = view<u32>(w, i.op[2]), c = view<u32>(w, i.op[3]);
  put<u32>(w, i.op[0], m, [&](int l) {
    const u64 bytes = u64{b[l]} << 32 | a[l];
    u32 r = 0;
    for (int k = 0; k < 4; ++k) {
      const u32 select = c[l] >> (4 * k) & 15;
      u32 byte = static_cast<u32>(bytes >> (8 * (select & 7))) & 255;
      if ((select & 8) != 0) byte = (byte & 128) != 0 ? 255 : 0;
      r |= byte << (8 * k);
    }
    return r;
  });
}
void lop3(Warp& w, const Insn& i, u32 m) {
  const auto a = view<u32>(w, i.op[1]), b = view<u32>(w, i.op[2]), c = view<u32>(w, i.op[3]);
  const u32 table = static_cast<u32>(i.imm);
  put<u32>(w, i.op[0], m, [&](int l) {
    u32 r = 0;
    for (u32 k = 0; k < 8; ++k)
      if ((table >> k & 1) != 0)
        r |= ((k & 4) != 0 ? a[l] : ~a[l]) & ((k & 2) != 0 ? b[l] : ~b[l]) & ((k & 1) != 0 ? c[l] : ~c[l]);
    return r;
  });
}
template <bool left, bool wrap>
void funnel(Warp& w, const Insn& i, u32 m) {
  const auto a = view<u32>(w, i.op[1]), b = view<u32>(w, i.op[2]), c = view<u32>(w, i.op[3]);
  put<u32>(w, i.op[0], m, [&](int l) {
    const u64 both = u64{b[l]} << 32 | a[l];
    const u32 n = wrap ? c[l] & 31 : std::min(c[l], 32u);
    return left ? static_cast<u32>((both << n) >> 32) : static_cast<u32>(both >> n);
  });
}

// --- comparison, selection, predicates

struct Eq {
  template <class T>
  static bool f(T a, T b) {
    return a == b;
  }
};
struct Ne {
  template <class T>
  static bool f(T a, T b) {
    if constexpr (std::is_floating_point_v<T>)
      return a < b || a > b;
    else
      return a != b;
  }
};
struct Lt {
  template <class T>
  static bool f(T a, T b) {
    return a < b;
  }
};
struct Le {
  template <class T>
  static bool f(T a, T b) {
    return a <= b;
  }
};
struct Gt {
  template <class T>
  static bool f(T a, T b) {
    return a > b;
  }
};
struct Ge {
  template <class T>
  static bool f(T a, T b) {
    return a >= b;
  }
};
struct Equ {
  template <class T>
  static bool f(T a, T b) {
    return !(a < b || a > b);
  }
};
struct Neu {
  template <class T>
  static bool f(T a, T b) {
    return a != b;
  }
};
struct Ltu {
  template <class T>
  static bool f(T a, T b) {
    return !(a >= b);
  }
};
struct Leu {
  template <class T>
  static bool f(T a, T b) {
    return !(a > b);
  }
};
struct Gtu {
  template <class T>
  static bool f(T a, T b) {
    return !(a <= b);
  }
};
struct Geu {
  template <class T>
  static bool f(T a, T b) {
    return !(a < b);
  }
};
struct Num {
  template <class T>
  static bool f(T a, T b) {
    return a == a && b == b;
  }
};
struct NotNum {
  template <class T>
  static bool f(T a, T b) {
    return a != a || b != b;
  }
};

template <class T, class Compare>
void setp(Warp& w, const Insn& i, u32 m) {
  const auto a = view<T>(w, i.op[1]), b = view<T>(w, i.op[2]);
  u32 bits = collect([&](int l) { return Compare::f(a[l], b[l]); }), other = ~bits;
  if (i.imm != 0) {  // .and .or .xor with a predicate
    u32 p = *w.at(i.op[3]);
    if ((i.flags & negate_predicate) != 0) p = ~p;
    const auto combine = [&](u32 v) { return i.imm == 1 ? v & p : i.imm == 2 ? v | p : v ^ p; };
    bits = combine(bits);
    other = combine(other);
  }
  put_predicate(w, i.op[0], m, bits);
  if (i.op[4] >= 0) put_predicate(w, i.op[4], m, other);
}
template <class T>
void selp(Warp& w, const Insn& i, u32 m) {
  const auto a = view<T>(w, i.op[1]), b = view<T>(w, i.op[2]);
  u32 p = *w.at(i.op[3]);
  if ((i.flags & negate_predicate) != 0) p = ~p;
  u32 k[lanes];
  VITRINE_LANES k[l] = p >> l & 1;
  put<T>(w, i.op[0], m, [&](int l) { return k[l] != 0 ? a[l] : b[l]; });
}
enum PredicateOp : u8 { p_and, p_or, p_xor, p_not, p_mov };
template <PredicateOp op>
void predicate(Warp& w, const Insn& i, u32 m) {
  u32 a = *w.at(i.op[1]), b = op <= p_xor ? *w.at(i.op[2]) : 0;
  if ((i.imm & 1) != 0) a = ~a;
  if ((i.imm & 2) != 0) b = ~b;
  put_predicate(w, i.op[0], m, op == p_and ? a & b : op == p_or ? a | b : op == p_xor ? a ^ b : op == p_not ? ~a : a);
}
template <class T>
void testp(Warp& w, const Insn& i, u32 m) {
  const auto a = view<T>(w, i.op[1]);
  const i64 kind = i.imm;
  put_predicate(w, i.op[0], m, collect([&](int l) {
                  const int c = std::fpclassify(a[l]);
                  return kind == 0   ? std::isfinite(a[l])
                         : kind == 1 ? c == FP_INFINITE
                         : kind == 2 ? c != FP_NAN
                         : kind == 3 ? c == FP_NAN
                         : kind == 4 ? c == FP_NORMAL
                                     : c == FP_SUBNORMAL;
                }));
}

// --- conversion

template <class T>
constexpr bool is_16 = std::is_same_v<T, half> || std::is_same_v<T, bhalf>;
template <class T>
using Held = std::conditional_t<is_16<T>, u16, T>;  // what a register of this type holds

template <class S>
auto loaded(Held<S> v) {
  if constexpr (std::is_same_v<S, half>)
    return half_to_float(v);
  else if constexpr (std::is_same_v<S, bhalf>)
    return bhalf_to_float(v);
  else
    return v;
}

// Integral roundings of floats: rni rzi rmi rpi, in that order from 4 on.
template <class F>
F integral(F v, u8 rounding) {
  switch (rounding) {
    case 4:
      return std::nearbyint(v);
    case 5:
      return std::trunc(v);
    case 6:
      return std::floor(v);
    case 7:
      return std::ceil(v);
    default:
      return v;
  }
}

template <class D, class S>
Held<D> converted(Held<S> raw, const Insn& i) {
  const auto v = loaded<S>(raw);
  using V = std::remove_const_t<decltype(v)>;
  if constexpr (std::is_floating_point_v<V>) {
    V x = (i.flags & flush) != 0 ? flushed(v) : v;
    if constexpr (std::is_integral_v<D>) {
      x = integral(x, i.rounding);
      if (x != x) return sizeof(D) == 8 ? static_cast<D>(u64{1} << 63) : D{0};
      const double low = static_cast<double>(std::numeric_limits<D>::min()),
                   high = static_cast<double>(std::numeric_limits<D>::max());
      if (static_cast<double>(x) <= low) return std::numeric_limits<D>::min();
      if (static_cast<double>(x) >= high) return std::numeric_limits<D>::max();
      return static_cast<D>(x);
    } else {
      x = modified(integral(x, i.rounding), static_cast<u8>(i.flags & saturate));
      if constexpr (std::is_same_v<D, half>)
        return float_to_half(static_cast<float>(x));
      else if constexpr (std::is_same_v<D, bhalf>)
        return float_to_bhalf(static_cast<float>(x));
      else {
        const D r = static_cast<D>(x);
        return (i.flags & flush) != 0 ? flushed(r) : r;
      }
    }
  } else if constexpr (std::is_integral_v<D>) {
    if ((i.flags & saturate) != 0) {
      const i128 x = v, low = std::numeric_limits<D>::min(), high = std::numeric_limits<D>::max();
      return static_cast<D>(x < low ? low : x > high ? high : x);
    }
    return static_cast<D>(v);
  } else if constexpr (std::is_same_v<D, half>) {
    return float_to_half(static_cast<float>(v));
  } else if constexpr (std::is_same_v<D, bhalf>) {
    return float_to_bhalf(static_cast<float>(v));
  } else {
    return static_cast<D>(v);
  }
}

// Values narrower than 64 bits may sit in 64-bit registers: Insn::wide, 1 for the destination, 2 for the source.
template <class D, class S>
void cvt(Warp& w, const Insn& i, u32 m) {
  u32 low[lanes];
  auto a = view<Held<S>>(w, i.op[1]);
  if constexpr (sizeof(Held<S>) <= 4) {
    if ((i.wide & 2) != 0) {
      const auto wide = view<u64>(w, i.op[1]);
      VITRINE_LANES low[l] = static_cast<u32>(wide[l]);
      a.p = reinterpret_cast<decltype(a.p)>(low);
    }
  }
  const auto keep = [&](auto&& f) {
    if constexpr (sizeof(Held<D>) <= 4 && std::is_integral_v<Held<D>>) {
      if ((i.wide & 1) != 0)
        return put<u64>(w, i.op[0], m, [&](int l) {
          return static_cast<u64>(static_cast<std::conditional_t<std::is_signed_v<Held<D>>, i64, u64>>(f(l)));
        });
    }
    put<Held<D>>(w, i.op[0], m, f);
  };
  if (i.rounding == nearest || i.rounding >= 4) {
    keep([&](int l) { return converted<D, S>(a[l], i); });
    return;
  }
  Held<D> r[lanes];
  std::fesetround(mode_of(i.rounding));
  for (int l = 0; l < lanes; ++l) {
    r[l] = opaque(converted<D, S>(opaque(a[l]), i));
  }
  std::fesetround(FE_TONEAREST);
  keep([&](int l) { return r[l]; });
}
template <u16 (*F)(float)>
void cvt_pair(Warp& w, const Insn& i, u32 m) {
  const auto a = view<float>(w, i.op[1]), b = view<float>(w, i.op[2]);
  const bool relu = i.imm != 0;
  put<u32>(w, i.op[0], m, [&](int l) {
    const float x = relu ? std::fmax(a[l], 0.0f) : a[l], y = relu ? std::fmax(b[l], 0.0f) : b[l];
    return u32{F(x)} << 16 | F(y);
  });
}
void cvt_tf32(Warp& w, const Insn& i, u32 m) {  // .rna: to the nearest, ties away from zero
  const auto a = view<u32>(w, i.op[1]);
  put<u32>(w, i.op[0], m,
           [&](int l) { return (a[l] & 0x7f800000) == 0x7f800000 ? a[l] : (a[l] + 0x1000) & ~u32{0x1fff}; });
}

// --- packing

void pack_64(Warp& w, const Insn& i, u32 m) {
  const auto a = view<u32>(w, i.op[1]), b = view<u32>(w, i.op[2]);
  put<u64>(w, i.op[0], m, [&](int l) { return u64{b[l]} << 32 | a[l]; });
}
void unpack_64(Warp& w, const Insn& i, u32 m) {
  u64 a[lanes];
  std::memcpy(a, w.at(i.op[2]), sizeof a);  // a destination may be the source's word
  if (i.imm & 1) put<u32>(w, i.op[0], m, [&](int l) { return static_cast<u32>(a[l]); });
  if (i.imm & 2) put<u32>(w, i.op[1], m, [&](int l) { return static_cast<u32>(a[l] >> 32); });
}
void pack_32(Warp& w, const Insn& i, u32 m) {
  const auto a = view<u16>(w, i.op[1]), b = view<u16>(w, i.op[2]);
  put<u32>(w, i.op[0], m, [&](int l) { return u32{b[l]} << 16 | a[l]; });
}
void unpack_32(Warp& w, const Insn& i, u32 m) {
  u32 a[lanes];
  std::memcpy(a, w.at(i.op[2]), sizeof a);
  if (i.imm & 1) put<u32>(w, i.op[0], m, [&](int l) { return a[l] & 0xffff; });
  if (i.imm & 2) put<u32>(w, i.op[1], m, [&](int l) { return a[l] >> 16; });
}
// mov.b64 to or from {four 16-bit registers}
void pack_quarters(Warp& w, const Insn& i, u32 m) {
  const i32* const p = w.block->program->lists.data() + i.list;
  put<u64>(w, i.op[0], m, [&](int l) {
    u64 v = 0;
    for (int k = 0; k < 4; ++k) v |= static_cast<u64>(w.at(p[k])[l] & 0xffff) << (16 * k);
    return v;
  });
}
void unpack_quarters(Warp& w, const Insn& i, u32 m) {
  const i32* const p = w.block->program->lists.data() + i.list;
  u64 a[lanes];
  std::memcpy(a, w.at(i.op[2]), sizeof a);
  for (int k = 0; k < 4; ++k)
    if ((i.imm >> k & 1) != 0) put<u32>(w, p[k], m, [&](int l) { return static_cast<u32>(a[l] >> (16 * k)) & 0xffff; });
}

// --- memory

u64 address_of(Warp& w, const Insn& i, int l) {
  const u32* const p = w.at(i.op[4]);
  u64 base;
  if (i.wide_address)
    std::memcpy(&base, p + 2 * l, 8);
  else
    base = p[l];
  return base + static_cast<u64>(i.imm);
}

std::string hex(u64 v) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(v));
  return text;
}

enum Access { reads, writes, both };

[[noreturn]] void bad_access(Access access, Space space, u64 address, std::size_t bytes, const u8* shadow, int l) {
  const char* const verb = access == reads ? "reads" : access == writes ? "writes" : "updates";
  const char* const where = space == Space::shared  ? "shared"
                            : space == Space::local ? "local"
                            : space == Space::param ? "parameter"
                                                    : "global";
  std::string what =
      std::string(verb) + " " + std::to_string(bytes) + " bytes of " + where + " memory at " + hex(address);
  bool outside = shadow == nullptr, waits = false;
  for (std::size_t k = 0; shadow != nullptr && k < bytes; ++k)
    outside = outside || shadow[k] == unmapped, waits = waits || shadow[k] == pending;
  if (outside) {
    what += space == Space::global ? ", " + DeviceMemory::instance().describe(address) : ", out of bounds";
  } else if (waits) {
    what += ", where an asynchronous copy has not been waited for";
  } else {
    what += ", which nobody has written";
  }
  fault(what, l);
}

// The memory of [address, address + bytes) for one lane, checked.
template <Access access>
inline u8* memory(Warp& w, Space space, u64 address, std::size_t bytes, int l) {
  if (address % bytes != 0)
    fault(std::string(access == writes ? "writes " : "reads ") + std::to_string(bytes) + " bytes at " + hex(address) +
              ", which is misaligned",
          l);
  if (space == Space::generic) {
    if (address < shared_window)
      space = Space::global;
    else if (address < local_window)
      space = Space::shared, address -= shared_window;
    else if (address < param_window)
      space = Space::local, address -= local_window;
    else
      space = Space::param, address -= param_window;
  }
  u8 *data, *shadow;
  if (space == Space::global) {
    DeviceMemory& d = DeviceMemory::instance();
    if (!d.contains(address) || !d.contains(address + bytes)) bad_access(access, space, address, bytes, nullptr, l);
    data = reinterpret_cast<u8*>(d.raw(address));
    shadow = d.shadow(address);
  } else if (space == Space::shared) {
    if (address > w.block->shared.size() || bytes > w.block->shared.size() - address)
      bad_access(access, space, address, bytes, nullptr, l);
    data = w.block->shared.data() + address;
    shadow = w.block->shared_shadow.data() + address;
  } else if (space == Space::local) {
    const u64 each_lane = w.block->program->local_bytes;
    if (address >= function_local) address += w.block->program->kernel_local - function_local;
    if (address > each_lane || bytes > each_lane - address) bad_access(access, space, address, bytes, nullptr, l);
    return w.local.data() + static_cast<u64>(l) * each_lane + address;
  } else {
    if (access != reads || address > w.block->parameters.size() || bytes > w.block->parameters.size() - address)
      bad_access(access, space, address, bytes, nullptr, l);
    return w.block->parameters.data() + address;
  }
  const auto holds = [&](auto ok) {
    u64 bad = 0;
    for (std::size_t k = 0; k < bytes; ++k) bad |= static_cast<u64>(!ok(shadow[k]));
    return bad == 0;
  };
  if constexpr (access == writes) {
    if (!holds([](u8 s) { return s == uninitialised || s == initialised; }))
      bad_access(access, space, address, bytes, shadow, l);
    std::memset(shadow, initialised, bytes);
  } else {
    static const std::array<u8, 16> good = [] {
      std::array<u8, 16> g;
      g.fill(initialised);
      return g;
    }();
    if (bytes == 4 ? (*reinterpret_cast<const u32*>(shadow) != 0x02020202u)
                   : std::memcmp(shadow, good.data(), bytes) != 0)
      bad_access(access, space, address, bytes, shadow, l);
  }
  return data;
}

template <class T>
inline void write_lane(Warp& w, i32 place, bool wide, int l, T value) {
  if (wide) {
    const u64 v = std::is_signed_v<T> ? static_cast<u64>(static_cast<i64>(value)) : static_cast<u64>(value);
    std::memcpy(w.at(place) + 2 * l, &v, 8);
  } else {
    const u32 v = std::is_signed_v<T> ? static_cast<u32>(static_cast<i32>(value)) : static_cast<u32>(value);
    w.at(place)[l] = v;
  }
}

constexpr i32 nowhere = std::numeric_limits<i32>::max();  // the sink `_`

template <class T, int N>
void load(Warp& w, const Insn& i, u32 m) {
  if constexpr (N == 1) {
    const bool wide = (i.wide & 1) != 0;
    each(m, [&](int l) {
      T v;
      std::memcpy(&v, memory<reads>(w, i.space, address_of(w, i, l), sizeof(T), l), sizeof v);
      write_lane(w, i.op[0], wide, l, v);
    });
  } else {
    const i32* const p = w.block->program->lists.data() + i.list;
    each(m, [&](int l) {
      T v[N];
      std::memcpy(v, memory<reads>(w, i.space, address_of(w, i, l), sizeof v, l), sizeof v);
      for (int k = 0; k < N; ++k)
        if (p[k] != nowhere) write_lane(w, p[k], (i.wide >> k & 1) != 0, l, v[k]);
    });
  }
}
template <class T>
inline T read_lane(Warp& w, i32 place, bool wide, int l) {
  const u32* const p = w.at(place);
  if (!wide) return static_cast<T>(p[l]);
  u64 v;
  std::memcpy(&v, p + 2 * l, 8);
  return static_cast<T>(v);
}
template <class T, int N>
void store(Warp& w, const Insn& i, u32 m) {
  const i32* const p = N == 1 ? &i.op[0] : w.block->program->lists.data() + i.list;
  each(m, [&](int l) {
    T v[N];
    for (int k = 0; k < N; ++k) v[k] = read_lane<T>(w, p[k], (i.wide >> k & 1) != 0, l);
    std::memcpy(memory<writes>(w, i.space, address_of(w, i, l), sizeof v, l), v, sizeof v);
  });
}

// Parameters of a kernel: the same for all lanes.
template <class T, int N>
void load_parameter(Warp& w, const Insn& i, u32 m) {
  const i32* const p = N == 1 ? &i.op[0] : w.block->program->lists.data() + i.list;
  T v[N];
  std::memcpy(v, w.block->parameters.data() + i.imm, sizeof v);
  for (int k = 0; k < N; ++k) {
    if (p[k] == nowhere) continue;
    if ((i.wide >> k & 1) != 0) {
      const u64 x = std::is_signed_v<T> ? static_cast<u64>(static_cast<i64>(v[k])) : static_cast<u64>(v[k]);
      put<u64>(w, p[k], m, [&](int) { return x; });
    } else {
      const u32 x = std::is_signed_v<T> ? static_cast<u32>(static_cast<i32>(v[k])) : static_cast<u32>(v[k]);
      put<u32>(w, p[k], m, [&](int) { return x; });
    }
  }
}
// Arguments of functions: one set per lane.
template <class T, int N>
void load_argument(Warp& w, const Insn& i, u32 m) {
  const i32* const p = N == 1 ? &i.op[0] : w.block->program->lists.data() + i.list;
  each(m, [&](int l) {
    T v[N];
    std::memcpy(v, w.calls.data() + static_cast<u64>(l) * w.block->program->call_bytes + static_cast<u64>(i.imm),
                sizeof v);
    for (int k = 0; k < N; ++k)
      if (p[k] != nowhere) write_lane(w, p[k], (i.wide >> k & 1) != 0, l, v[k]);
  });
}
template <class T, int N>
void store_argument(Warp& w, const Insn& i, u32 m) {
  const i32* const p = N == 1 ? &i.op[0] : w.block->program->lists.data() + i.list;
  each(m, [&](int l) {
    T v[N];
    for (int k = 0; k < N; ++k) v[k] = read_lane<T>(w, p[k], (i.wide >> k & 1) != 0, l);
    std::memcpy(w.calls.data() + static_cast<u64>(l) * w.block->program->call_bytes + static_cast<u64>(i.imm), v,
                sizeof v);
  });
}

enum AtomicOp : u8 { a_add, a_min, a_max, a_exch, a_cas, a_and, a_or, a_xor, a_inc, a_dec };
template <class T>
void atomic(Warp& w, const Insn& i, u32 m) {
  const auto op = static_cast<AtomicOp>(i.rounding);
  const bool wide = sizeof(T) == 8, result = i.op[0] != nowhere;
  using Word = std::conditional_t<sizeof(T) == 8, u64, u32>;
  // Additions of floats in another order give other bits; whoever relies on an order is found by greedy runs.
  const auto one = [&](int l) {
    u8* const p = memory<both>(w, i.space, address_of(w, i, l), sizeof(T), l);
    T old, v;
    std::memcpy(&old, p, sizeof old);
    const Word raw = read_lane<Word>(w, i.op[1], wide, l);
    std::memcpy(&v, &raw, sizeof v);
    T next = old;
    switch (op) {
      case a_add:
        next = static_cast<T>(old + v);
        break;
      case a_min:
        next = Min::f(old, v);
        break;
      case a_max:
        next = Max::f(old, v);
        break;
      case a_exch:
        next = v;
        break;
      case a_cas: {
        const Word with = read_lane<Word>(w, i.op[2], wide, l);
        if (std::memcmp(&old, &v, sizeof old) == 0) std::memcpy(&next, &with, sizeof next);
        break;
      }
      default:
        if constexpr (std::is_integral_v<T>) {
          if (op == a_and) next = old & v;
          if (op == a_or) next = old | v;
          if (op == a_xor) next = old ^ v;
          if (op == a_inc) next = old >= v ? T{0} : static_cast<T>(old + 1);
          if (op == a_dec) next = old == 0 || old > v ? v : static_cast<T>(old - 1);
        }
    }
    std::memcpy(p, &next, sizeof next);
    if (result) {
      Word bits;
      std::memcpy(&bits, &old, sizeof old);
      write_lane(w, i.op[0], wide, l, bits);
    }
  };
  if (w.block->options->order == Order::greedy) {
    for (int l = lanes; l-- > 0;)
      if ((m >> l & 1) != 0) one(l);
  } else {
    each(m, one);
  }
}

// Addresses between windows.
template <bool to_generic>
void convert_address(Warp& w, const Insn& i, u32 m) {
  const u64 window = static_cast<u64>(i.imm);
  if (i.wide_address) {
    const auto a = view<u64>(w, i.op[1]);
    put<u64>(w, i.op[0], m, [&](int l) { return to_generic ? a[l] + window : a[l] - window; });
  } else {
    const auto a = view<u32>(w, i.op[1]);
    put<u32>(w, i.op[0], m, [&](int l) { return a[l]; });
  }
}
void is_space(Warp& w, const Insn& i, u32 m) {
  const auto a = view<u64>(w, i.op[1]);
  const auto space = static_cast<Space>(i.rounding);
  put_predicate(w, i.op[0], m, collect([&](int l) {
                  return a[l] < shared_window  ? space == Space::global
                         : a[l] < local_window ? space == Space::shared
                         : a[l] < param_window ? space == Space::local
                                               : space == Space::param;
                }));
}

// --- asynchronous copies

// The destination is poisoned at once and holds its data only after the wait that covers the copy.
void copy_async(Warp& w, const Insn& i, u32 m) {
  const auto bytes = static_cast<u32>(i.op[2]);
  each(m, [&](int l) {
    const u64 to = read_lane<u64>(w, i.op[0], (i.wide & 1) != 0, l) + static_cast<u64>(i.imm),
              from = read_lane<u64>(w, i.op[1], true, l) + i.target;
    const u32 size = i.op[3] != nowhere ? w.at(i.op[3])[l] : bytes;
    if (size > bytes) fault("asks for " + std::to_string(size) + " of " + std::to_string(bytes) + " bytes", l);
    u64 offset = to >= shared_window ? to - shared_window : to;
    Warp::Copy copy{offset, bytes, w.open_group[static_cast<std::size_t>(l)], {}};
    if (from % bytes != 0)
      fault("reads " + std::to_string(bytes) + " bytes at " + hex(from) + ", which is misaligned", l);
    // Byte by byte: with a source size the rest is neither read nor checked.
    for (u32 k = 0; k < size; ++k) copy.data[k] = *memory<reads>(w, Space::global, from + k, 1, l);
    u8* const p = memory<writes>(w, Space::shared, offset, bytes, l);
    for (u32 k = 0; k < bytes; k += 4) std::memcpy(p + k, &poison, 4);
    std::memset(w.block->shared_shadow.data() + offset, pending, bytes);
    w.copies[static_cast<std::size_t>(l)].push_back(copy);
  });
}
void commit_group(Warp& w, const Insn&, u32 m) {
  each(m, [&](int l) { ++w.open_group[static_cast<std::size_t>(l)]; });
}
void wait_group(Warp& w, const Insn& i, u32 m) {
  each(m, [&](int l) {
    auto& list = w.copies[static_cast<std::size_t>(l)];
    // All but the last i.imm committed groups; -1: everything.
    const i64 limit = i.imm < 0 ? std::numeric_limits<i64>::max()
                                : static_cast<i64>(w.open_group[static_cast<std::size_t>(l)]) - i.imm;
    std::erase_if(list, [&](const Warp::Copy& c) {
      if (static_cast<i64>(c.group) >= limit) return false;
      std::memcpy(w.block->shared.data() + c.to, c.data, c.bytes);
      std::memset(w.block->shared_shadow.data() + c.to, initialised, c.bytes);
      return true;
    });
  });
}

// --- warps

u32 member_mask(Warp& w, i32 place, u32 m) { return w.at(place)[__builtin_ctz(m)]; }

enum ShuffleKind : u8 { s_up, s_down, s_bfly, s_idx };
template <ShuffleKind kind>
void shuffle(Warp& w, const Insn& i, u32 m) {
  const i32* const p = w.block->program->lists.data() + i.list;  // d, predicate, a, b, c, members
  const u32 members = member_mask(w, p[5], m);
  if (!together(w, m, members)) return;
  u32 a[lanes], r[lanes], valid = 0;
  std::memcpy(a, w.at(p[2]), sizeof a);
  const u32 *const b = w.at(p[3]), *const c = w.at(p[4]);
  each(m, [&](int l) {
    const int clamp = static_cast<int>(c[l] & 31), segment = static_cast<int>(c[l] >> 8 & 31),
              lane_b = static_cast<int>(b[l] & 31);
    const int max_lane = (l & segment) | (clamp & ~segment), min_lane = l & segment;
    int j = l;
    bool in = false;
    switch (kind) {
      case s_up:
        j = l - lane_b;
        in = j >= max_lane;
        break;
      case s_down:
        j = l + lane_b;
        in = j <= max_lane;
        break;
      case s_bfly:
        j = l ^ lane_b;
        in = j <= max_lane;
        break;
      case s_idx:
        j = min_lane | (lane_b & ~segment);
        in = j <= max_lane;
        break;
    }
    if (!in) j = l;
    if (in) valid |= u32{1} << l;
    if ((m >> j & 1) == 0)
      fault("shuffles from lane " + std::to_string(j) + ", which takes no part (mask " + hex(members) + ")", l);
    r[l] = a[j];
  });
  each(m, [&](int l) { w.at(p[0])[l] = r[l]; });
  if (p[1] >= 0) put_predicate(w, p[1], m, valid);
}

enum VoteKind : u8 { v_all, v_any, v_uni, v_ballot };
template <VoteKind kind>
void vote(Warp& w, const Insn& i, u32 m) {
  if (!together(w, m, member_mask(w, i.op[2], m))) return;
  u32 p = *w.at(i.op[1]);
  if ((i.flags & negate_predicate) != 0) p = ~p;
  p &= m;
  if (kind == v_ballot)
    put<u32>(w, i.op[0], m, [&](int) { return p; });
  else
    put_predicate(w, i.op[0], m, (kind == v_all ? p == m : kind == v_any ? p != 0 : p == 0 || p == m) ? all_lanes : 0);
}
void active_mask(Warp&, const Insn&, u32) {
  fault("activemask tells which lanes happen to run together: nothing may depend on it");
}
void warp_barrier(Warp& w, const Insn& i, u32 m) { together(w, m, member_mask(w, i.op[0], m)); }
template <class T, class Op>
void reduce_warp(Warp& w, const Insn& i, u32 m) {
  if (!together(w, m, member_mask(w, i.op[2], m))) return;
  const auto a = view<T>(w, i.op[1]);
  bool first = true;
  T r{};
  each(m, [&](int l) {
    r = first ? a[l] : Op::f(r, a[l]);
    first = false;
  });
  put<T>(w, i.op[0], m, [&](int) { return r; });
}
template <int N, bool transposed>
void load_matrix(Warp& w, const Insn& i, u32 m) {
  if (!together(w, m, all_lanes)) return;
  const i32* const p = w.block->program->lists.data() + i.list;
  u16 rows[N][8][8];
  for (int k = 0; k < N; ++k)
    for (int r = 0; r < 8; ++r) {
      u64 a = address_of(w, i, 8 * k + r);
      if (a >= shared_window) a -= shared_window;
      std::memcpy(rows[k][r], memory<reads>(w, Space::shared, a, 16, 8 * k + r), 16);
    }
  for (int k = 0; k < N; ++k)
    put<u32>(w, p[k], all_lanes, [&](int l) {
      const int r = l / 4, c = 2 * (l % 4);
      return transposed ? u32{rows[k][c + 1][r]} << 16 | rows[k][c][r] : u32{rows[k][r][c + 1]} << 16 | rows[k][r][c];
    });
}

// D = A B + C of 16 x 8 x K. The layout of fragments is the PTX manual's: group g = lane/4, t = lane%4. Products are
// exact in float; sums run over k in order.
enum Fragment : u8 { f_bf16, f_f16, f_tf32 };
template <Fragment type, int K>
void matrix_multiply(Warp& w, const Insn& i, u32 m) {
  if (!together(w, m, all_lanes)) return;
  const i32* const p = w.block->program->lists.data() + i.list;
  constexpr int per = type == f_tf32 ? 1 : 2, na = 16 * K / 32 / per, nb = 8 * K / 32 / per;
  float A[16][K], B[K][8];
  const auto element = [](u32 word, int half_index) {
    if constexpr (type == f_tf32) {
      word &= ~u32{0x1fff};
      float f;
      std::memcpy(&f, &word, 4);
      return f;
    } else {
      const auto h = static_cast<u16>(half_index == 0 ? word : word >> 16);
      return type == f_bf16 ? bhalf_to_float(h) : half_to_float(h);
    }
  };
  for (int l = 0; l < lanes; ++l) {
    const int g = l / 4, t = l % 4;
    for (int r = 0; r < na; ++r)
      for (int e = 0; e < per; ++e) A[g + 8 * (r % 2)][per * t + e + 4 * per * (r / 2)] = element(w.at(p[4 + r])[l], e);
    for (int r = 0; r < nb; ++r)
      for (int e = 0; e < per; ++e) B[per * t + e + 4 * per * r][g] = element(w.at(p[4 + na + r])[l], e);
  }
  float D[4][lanes];
  for (int r = 0; r < 4; ++r) {
    const auto c = view<float>(w, p[4 + na + nb + r]);
    for (int l = 0; l < lanes; ++l) {
      const int row = l / 4 + 8 * (r / 2), column = 2 * (l % 4) + r % 2;
      float sum = c[l];
      for (int k = 0; k < K; ++k) sum = std::fma(A[row][k], B[k][column], sum);
      D[r][l] = sum;
    }
  }
  for (int r = 0; r < 4; ++r) put<float>(w, p[r], all_lanes, [&](int l) { return D[r][l]; });
}

// --- control

void jump(Warp& w, const Insn& i, u32 m) { branch(w, m, i.target); }
void jump_indexed(Warp& w, const Insn& i, u32 m) {
  const u32* const index = w.at(i.op[0]);
  u32 rest = m;
  while (rest != 0) {
    const u32 k = index[__builtin_ctz(rest)];
    if (k >= static_cast<u32>(i.imm))
      fault("branches to entry " + std::to_string(k) + " of a table of " + std::to_string(i.imm), __builtin_ctz(rest));
    u32 same = 0;
    each(rest, [&](int l) { same |= index[l] == k ? u32{1} << l : 0; });
    rest &= ~same;
    w.others.push_back({static_cast<u32>(w.block->program->lists[i.list + k]), same, Group::ready, 0});
  }
  w.active &= ~m;
  w.switch_ = true;
}
void leave(Warp& w, const Insn&, u32 m) { exit_lanes(w, m); }
void call(Warp& w, const Insn& i, u32 m) {
  const u32 pc = w.pc;
  put<u32>(w, i.op[0], m, [&](int) { return pc; });
  branch(w, m, i.target);
}
void come_back(Warp& w, const Insn& i, u32 m) {
  const u32* const back = w.regs + i.op[0];
  u32 rest = m;
  while (rest != 0) {
    const u32 pc = back[__builtin_ctz(rest)];
    u32 same = 0;
    each(rest, [&](int l) { same |= back[l] == pc ? u32{1} << l : 0; });
    rest &= ~same;
    w.others.push_back({pc, same, Group::ready, 0});
  }
  w.active &= ~m;
  w.switch_ = true;
}
void copy_argument(Warp& w, const Insn& i, u32 m) {  // op: from, to, bytes
  each(m, [&](int l) {
    u8* const base = w.calls.data() + static_cast<u64>(l) * w.block->program->call_bytes;
    std::memmove(base + i.op[1], base + i.op[0], static_cast<std::size_t>(i.op[2]));
  });
}
void trap(Warp&, const Insn&, u32 m) { fault("runs into a trap", __builtin_ctz(m)); }
void barrier(Warp& w, const Insn& i, u32 m) {
  const int l = __builtin_ctz(m);
  arrive(w, i, m, w.at(i.op[1])[l], i.op[2] != nowhere ? w.at(i.op[2])[l] : 0);
}
void nothing_to_do(Warp&, const Insn&, u32) {}

// --- the table

enum class Type : u8 {
  none,
  pred,
  u8_,
  s8_,
  b8_,
  u16_,
  s16_,
  b16_,
  u32_,
  s32_,
  b32_,
  u64_,
  s64_,
  b64_,
  f16_,
  bf16_,
  f32_,
  f64_,
  f16x2,
  bf16x2,
  tf32
};

Type type_of(const std::string& s) {
  static const std::unordered_map<std::string, Type> names{
      {"pred", Type::pred}, {"u8", Type::u8_},      {"s8", Type::s8_},        {"b8", Type::b8_},
      {"u16", Type::u16_},  {"s16", Type::s16_},    {"b16", Type::b16_},      {"u32", Type::u32_},
      {"s32", Type::s32_},  {"b32", Type::b32_},    {"u64", Type::u64_},      {"s64", Type::s64_},
      {"b64", Type::b64_},  {"f16", Type::f16_},    {"bf16", Type::bf16_},    {"f32", Type::f32_},
      {"f64", Type::f64_},  {"f16x2", Type::f16x2}, {"bf16x2", Type::bf16x2}, {"tf32", Type::tf32}};
  const auto found = names.find(s);
  return found == names.end() ? Type::none : found->second;
}
bool is_wide(Type t) { return t == Type::u64_ || t == Type::s64_ || t == Type::b64_ || t == Type::f64_; }

#define VITRINE_INTS(F, ...)   \
  case Type::u16_:             \
  case Type::b16_:             \
    return F<u16 __VA_ARGS__>; \
  case Type::s16_:             \
    return F<i16 __VA_ARGS__>; \
  case Type::u32_:             \
  case Type::b32_:             \
    return F<u32 __VA_ARGS__>; \
  case Type::s32_:             \
    return F<i32 __VA_ARGS__>; \
  case Type::u64_:             \
  case Type::b64_:             \
    return F<u64 __VA_ARGS__>; \
  case Type::s64_:             \
    return F<i64 __VA_ARGS__>;
#define VITRINE_FLOATS(F, ...)   \
  case Type::f32_:               \
    return F<float __VA_ARGS__>; \
  case Type::f64_:               \
    return F<double __VA_ARGS__>;
#define VITRINE_COMMA ,

template <class Op>
Handler int_binary(Type t) {
  switch (t) { VITRINE_INTS(binary, VITRINE_COMMA Op) default : return nullptr; }
}
template <class Op>
Handler any_binary(Type t) {
  switch (t) {
    VITRINE_INTS(binary, VITRINE_COMMA Op) VITRINE_FLOATS(binary, VITRINE_COMMA Op) default : return nullptr;
  }
}
template <class Op>
Handler float_binary(Type t) {
  switch (t) { VITRINE_FLOATS(binary, VITRINE_COMMA Op) default : return nullptr; }
}
template <class Op>
Handler float_slow(Type t) {
  switch (t) { VITRINE_FLOATS(slow_binary, VITRINE_COMMA Op) default : return nullptr; }
}
template <class Op>
Handler bits_binary(Type t) {
  switch (t) {
    case Type::b16_:
      return binary<u16, Op>;
    case Type::b32_:
      return binary<u32, Op>;
    case Type::b64_:
      return binary<u64, Op>;
    default:
      return nullptr;
  }
}
template <class Op>
Handler any_unary(Type t) {
  switch (t) { VITRINE_INTS(unary, VITRINE_COMMA Op) VITRINE_FLOATS(unary, VITRINE_COMMA Op) default : return nullptr; }
}
template <class C>
Handler any_setp(Type t) {
  switch (t) { VITRINE_INTS(setp, VITRINE_COMMA C) VITRINE_FLOATS(setp, VITRINE_COMMA C) default : return nullptr; }
}
template <class C>
Handler float_setp(Type t) {
  switch (t) { VITRINE_FLOATS(setp, VITRINE_COMMA C) default : return nullptr; }
}
Handler any_mad(Type t) {
  switch (t) { VITRINE_INTS(mad, ) default : return nullptr; }
}
Handler any_mad_high(Type t) {
  switch (t) { VITRINE_INTS(mad_high, ) default : return nullptr; }
}
Handler any_selp(Type t) {
  switch (t) { VITRINE_INTS(selp, ) VITRINE_FLOATS(selp, ) default : return nullptr; }
}
Handler any_shl(Type t) {
  switch (t) { VITRINE_INTS(shift_left, ) default : return nullptr; }
}
Handler any_shr(Type t) {
  switch (t) { VITRINE_INTS(shift_right, ) default : return nullptr; }
}
Handler any_fma(Type t, bool slow) {
  switch (t) {
    case Type::f32_:
      return slow ? slow_fused<float> : fused<float>;
    case Type::f64_:
      return slow ? slow_fused<double> : fused<double>;
    default:
      return nullptr;
  }
}
Handler any_atomic(Type t) {
  switch (t) {
    case Type::u32_:
    case Type::b32_:
      return atomic<u32>;
    case Type::s32_:
      return atomic<i32>;
    case Type::u64_:
    case Type::b64_:
      return atomic<u64>;
    case Type::s64_:
      return atomic<i64>;
    case Type::f32_:
      return atomic<float>;
    case Type::f64_:
      return atomic<double>;
    default:
      return nullptr;
  }
}

template <class D>
Handler cvt_from(Type s) {
  switch (s) {
    case Type::u8_:
      return cvt<D, u8>;
    case Type::s8_:
      return cvt<D, i8>;
    case Type::u16_:
    case Type::b16_:
      return cvt<D, u16>;
    case Type::s16_:
      return cvt<D, i16>;
    case Type::u32_:
    case Type::b32_:
      return cvt<D, u32>;
    case Type::s32_:
      return cvt<D, i32>;
    case Type::u64_:
    case Type::b64_:
      return cvt<D, u64>;
    case Type::s64_:
      return cvt<D, i64>;
    case Type::f16_:
      return cvt<D, half>;
    case Type::bf16_:
      return cvt<D, bhalf>;
    case Type::f32_:
      return cvt<D, float>;
    case Type::f64_:
      return cvt<D, double>;
    default:
      return nullptr;
  }
}
Handler any_cvt(Type d, Type s) {
  switch (d) {
    case Type::u8_:
      return cvt_from<u8>(s);
    case Type::s8_:
      return cvt_from<i8>(s);
    case Type::u16_:
    case Type::b16_:
      return cvt_from<u16>(s);
    case Type::s16_:
      return cvt_from<i16>(s);
    case Type::u32_:
    case Type::b32_:
      return cvt_from<u32>(s);
    case Type::s32_:
      return cvt_from<i32>(s);
    case Type::u64_:
    case Type::b64_:
      return cvt_from<u64>(s);
    case Type::s64_:
      return cvt_from<i64>(s);
    case Type::f16_:
      return cvt_from<half>(s);
    case Type::bf16_:
      return cvt_from<bhalf>(s);
    case Type::f32_:
      return cvt_from<float>(s);
    case Type::f64_:
      return cvt_from<double>(s);
    default:
      return nullptr;
  }
}

// load/store families by element type and vector length.
#define VITRINE_MEMORY(name, F)                                                                      \
  template <int N>                                                                                   \
  Handler name##_of(Type t) {                                                                        \
    switch (t) {                                                                                     \
      case Type::u8_:                                                                                \
      case Type::b8_:                                                                                \
        return F<u8, N>;                                                                             \
      case Type::s8_:                                                                                \
        return F<i8, N>;                                                                             \
      case Type::u16_:                                                                               \
      case Type::b16_:                                                                               \
      case Type::f16_:                                                                               \
      case Type::bf16_:                                                                              \
        return F<u16, N>;                                                                            \
      case Type::s16_:                                                                               \
        return F<i16, N>;                                                                            \
      case Type::u32_:                                                                               \
      case Type::b32_:                                                                               \
      case Type::f32_:                                                                               \
        return F<u32, N>;                                                                            \
      case Type::s32_:                                                                               \
        return F<i32, N>;                                                                            \
      case Type::u64_:                                                                               \
      case Type::s64_:                                                                               \
      case Type::b64_:                                                                               \
      case Type::f64_:                                                                               \
        return F<u64, N>;                                                                            \
      default:                                                                                       \
        return nullptr;                                                                              \
    }                                                                                                \
  }                                                                                                  \
  Handler name(Type t, std::size_t n) {                                                              \
    return n == 1 ? name##_of<1>(t) : n == 2 ? name##_of<2>(t) : n == 4 ? name##_of<4>(t) : nullptr; \
  }
VITRINE_MEMORY(any_load, load)
VITRINE_MEMORY(any_store, store)
VITRINE_MEMORY(any_load_parameter, load_parameter)
VITRINE_MEMORY(any_load_argument, load_argument)
VITRINE_MEMORY(any_store_argument, store_argument)
#undef VITRINE_MEMORY

Handler compare(const std::string& c, Type t) {
  if (c == "eq") return any_setp<Eq>(t);
  if (c == "ne") return any_setp<Ne>(t);
  if (c == "lt" || c == "lo") return any_setp<Lt>(t);
  if (c == "le" || c == "ls") return any_setp<Le>(t);
  if (c == "gt" || c == "hi") return any_setp<Gt>(t);
  if (c == "ge" || c == "hs") return any_setp<Ge>(t);
  if (c == "equ") return float_setp<Equ>(t);
  if (c == "neu") return float_setp<Neu>(t);
  if (c == "ltu") return float_setp<Ltu>(t);
  if (c == "leu") return float_setp<Leu>(t);
  if (c == "gtu") return float_setp<Gtu>(t);
  if (c == "geu") return float_setp<Geu>(t);
  if (c == "num") return float_setp<Num>(t);
  if (c == "nan") return float_setp<NotNum>(t);
  return nullptr;
}

}  // namespace

i32 Decoder::constant(u64 bits, bool wide) {
  auto [found, fresh] = constants.try_emplace({bits, wide}, 0);
  if (fresh) {
    found->second = ~static_cast<i32>(program.pool.size());
    for (int l = 0; l < lanes; ++l) {
      program.pool.push_back(static_cast<u32>(bits));
      if (wide) program.pool.push_back(static_cast<u32>(bits >> 32));
    }
  }
  return found->second;
}

namespace {

/// One instruction while it is decoded: `name.modifier...` and its operands, to `i`.
struct Decoding {
  Decoder& decoder;
  const std::vector<std::string>& parts;
  const std::vector<Operand>& operands;
  Insn& i;
  Program& program = decoder.program;
  const std::string& name = parts[0];
  Type type = Type::none, before = Type::none;  ///< the last type named, and the one before it
  bool real = false;                            ///< the type is f32 or f64
  bool slow = false;                            ///< other than plain rounding to nearest

  Decoding(Decoder&, const std::vector<std::string>&, const std::vector<Operand>&, Insn&);
  bool has(const char* modifier) const;
  i32 constant(u64 bits, bool wide) { return decoder.constant(bits, wide); }
  /// A register or constant as an operand of `wide` bits.
  i32 place(std::size_t k, bool wide);
  i32 predicate_of(std::size_t k);
  /// Exactly n operands, all registers or constants of one width.
  void take(std::size_t n, bool wide);
  /// Stores a list of registers in Program::lists; its first index.
  u32 list(const Operand&, bool wide_allowed);
  void address(const Operand&);

  // Each decodes a family of instructions; false: there is no such instruction.
  bool arithmetic();
  bool multiply_add();
  bool sign();
  bool elementary();
  bool logic();
  bool complement();
  bool copy_sign();
  bool shift();
  bool funnel_shift();
  bool permute();
  bool logic_of_three();
  bool bit_field();
  bool count();
  bool comparison();
  bool selection();
  bool number_test();
  bool move();
  bool conversion();
  bool address_space();
  bool memory_access();
  bool atomic();
  bool asynchronous_copy();
  bool lane_shuffle();
  bool lane_vote();
  bool warp_reduction();
  bool control();
  bool matrix_load();
  bool matrix_product();
  bool barriers();
};

Decoding::Decoding(Decoder& d, const std::vector<std::string>& p, const std::vector<Operand>& o, Insn& insn)
    : decoder(d), parts(p), operands(o), i(insn) {
  for (std::size_t k = parts.size(); k-- > 1;) {
    const Type t = type_of(parts[k]);
    if (t == Type::none) continue;
    if (type == Type::none)
      type = t;
    else {
      before = t;
      break;
    }
  }
  if (has("sat")) i.flags |= saturate;
  if (has("ftz")) i.flags |= flush;
  i.rounding = has("rz")    ? to_zero
               : has("rm")  ? down
               : has("rp")  ? up
               : has("rni") ? 4
               : has("rzi") ? 5
               : has("rmi") ? 6
               : has("rpi") ? 7
                            : nearest;
  slow = i.flags != 0 || i.rounding != nearest;
  real = type == Type::f32_ || type == Type::f64_;
}

bool Decoding::has(const char* modifier) const {
  return std::find(parts.begin() + 1, parts.end(), modifier) != parts.end();
}

i32 Decoding::place(std::size_t k, bool wide) {
  const Operand& o = operands.at(k);
  if (o.kind == Operand::sink) return nowhere;
  if (o.kind == Operand::immediate || o.kind == Operand::symbol) return constant(static_cast<u64>(o.value), wide);
  if (o.kind != Operand::reg || (o.bits == 64) != wide || o.bits == 1)
    throw Error("operand " + std::to_string(k + 1) + " has another width than the instruction");
  return o.place;
}

i32 Decoding::predicate_of(std::size_t k) {
  const Operand& o = operands.at(k);
  if (o.kind == Operand::immediate) return constant(o.value != 0 ? ~u64{0} : 0, false);
  if (o.kind != Operand::reg || o.bits != 1) throw Error("operand " + std::to_string(k + 1) + " is no predicate");
  return o.place;
}

void Decoding::take(std::size_t n, bool wide) {
  if (operands.size() != n)
    throw Error("has " + std::to_string(operands.size()) + " operands, expected " + std::to_string(n));
  for (std::size_t k = 0; k < n; ++k) i.op[k] = place(k, wide);
}

u32 Decoding::list(const Operand& o, bool wide_allowed) {
  if (o.kind != Operand::vector) throw Error("needs a list of registers");
  const auto first = static_cast<u32>(program.lists.size());
  i.wide = 0;
  for (std::size_t k = 0; k < o.parts.size(); ++k) {
    const Operand& r = o.parts[k];
    if (r.kind == Operand::sink)
      program.lists.push_back(nowhere);
    else if (r.kind == Operand::immediate) {
      program.lists.push_back(constant(static_cast<u64>(r.value), is_wide(type)));
      if (is_wide(type)) i.wide = static_cast<u8>(i.wide | 1 << k);
    } else {
      program.lists.push_back(r.place);
      if (r.bits == 64) {
        if (!wide_allowed) throw Error("takes no 64-bit registers");
        i.wide = static_cast<u8>(i.wide | 1 << k);
      }
    }
  }
  return first;
}

void Decoding::address(const Operand& o) {
  if (o.kind != Operand::address) throw Error("needs an address");
  i.op[4] = o.place;
  i.wide_address = o.wide;
  i.imm = o.value;
}

/// add, sub, mul, div, min, max, rem.
bool Decoding::arithmetic() {
  if (has("cc")) return false;
  if (name == "mul" && has("wide")) {
    if (operands.size() != 3) return false;
    const bool narrow = type == Type::u16_ || type == Type::s16_;
    i.op[0] = place(0, !narrow);
    i.op[1] = place(1, false);
    i.op[2] = place(2, false);
    i.run = type == Type::u16_   ? multiply_wide<u16, u32>
            : type == Type::s16_ ? multiply_wide<i16, i32>
            : type == Type::u32_ ? multiply_wide<u32, u64>
            : type == Type::s32_ ? multiply_wide<i32, i64>
                                 : nullptr;
    return i.run != nullptr;
  }
  take(3, is_wide(type));
  if (name == "div" && type == Type::f32_ && (has("approx") || has("full")))
    i.run = approximate_divide;
  else if (name == "mul" && !real)
    i.run = has("hi") ? int_binary<MulHigh>(type) : has("lo") ? int_binary<Mul>(type) : nullptr;
  else if (slow && !real)
    return false;
  else if (slow)
    i.run = name == "add"   ? float_slow<Add>(type)
            : name == "sub" ? float_slow<Sub>(type)
            : name == "mul" ? float_slow<Mul>(type)
            : name == "div" ? float_slow<Div>(type)
            : name == "min" ? float_slow<Min>(type)
                            : float_slow<Max>(type);
  else if (name == "min")
    i.run = has("NaN") ? float_binary<MinNan>(type) : any_binary<Min>(type);
  else if (name == "max")
    i.run = has("NaN") ? float_binary<MaxNan>(type) : any_binary<Max>(type);
  else if (name == "rem")
    i.run = int_binary<Rem>(type);
  else
    i.run = name == "add"   ? any_binary<Add>(type)
            : name == "sub" ? any_binary<Sub>(type)
            : name == "mul" ? float_binary<Mul>(type)
                            : any_binary<Div>(type);
  return i.run != nullptr;
}

/// mad, fma.
bool Decoding::multiply_add() {
  if (has("cc")) return false;
  if (has("wide")) {
    if (operands.size() != 4) return false;
    i.op[0] = place(0, true), i.op[1] = place(1, false), i.op[2] = place(2, false), i.op[3] = place(3, true);
    i.run = type == Type::u32_ ? mad_wide<u32, u64> : type == Type::s32_ ? mad_wide<i32, i64> : nullptr;
    return i.run != nullptr;
  }
  take(4, is_wide(type));
  i.run = real ? any_fma(type, slow) : slow ? nullptr : has("hi") ? any_mad_high(type) : any_mad(type);
  return i.run != nullptr;
}

/// neg, abs.
bool Decoding::sign() {
  take(2, is_wide(type));
  if (slow && real)
    i.run = type == Type::f32_ ? (name == "neg" ? slow_unary<float, Neg> : slow_unary<float, Abs>) : nullptr;
  else
    i.run = name == "neg" ? any_unary<Neg>(type) : any_unary<Abs>(type);
  return i.run != nullptr;
}

/// sqrt, rcp, rsqrt, ex2, lg2, sin, cos, tanh.
bool Decoding::elementary() {
  take(2, is_wide(type));
  const bool single = type == Type::f32_;
  if (!real) return false;
  if (has("approx")) {
    if (single)
      i.run = name == "sqrt"    ? approximate_unary<Sqrt>
              : name == "rcp"   ? approximate_unary<Reciprocal>
              : name == "rsqrt" ? approximate_unary<Rsqrt>
              : name == "ex2"   ? approximate_unary<Exp2>
              : name == "lg2"   ? approximate_unary<Log2>
              : name == "sin"   ? approximate_unary<Sin>
              : name == "cos"   ? approximate_unary<Cos>
                                : approximate_unary<Tanh>;
    else
      i.run = name == "rcp"     ? unary<double, ReciprocalHigh>
              : name == "rsqrt" ? (has("ftz") ? unary<double, RsqrtHigh> : unary<double, Rsqrt>)
                                : nullptr;
  } else if (name == "sqrt") {
    i.run = single ? (slow ? slow_unary<float, Sqrt> : unary<float, Sqrt>)
                   : (slow ? slow_unary<double, Sqrt> : unary<double, Sqrt>);
  } else if (name == "rcp") {
    i.run = single ? (slow ? slow_unary<float, Reciprocal> : unary<float, Reciprocal>)
                   : (slow ? slow_unary<double, Reciprocal> : unary<double, Reciprocal>);
  }
  return i.run != nullptr;
}

/// and, or, xor.
bool Decoding::logic() {
  if (type == Type::pred) {
    i.op[0] = predicate_of(0), i.op[1] = predicate_of(1), i.op[2] = predicate_of(2);
    i.imm = (operands[1].negated ? 1 : 0) | (operands[2].negated ? 2 : 0);
    i.run = name == "and" ? predicate<p_and> : name == "or" ? predicate<p_or> : predicate<p_xor>;
    return true;
  }
  take(3, is_wide(type));
  i.run = name == "and" ? bits_binary<And>(type) : name == "or" ? bits_binary<Or>(type) : bits_binary<Xor>(type);
  return i.run != nullptr;
}

/// not.
bool Decoding::complement() {
  if (type == Type::pred) {
    i.op[0] = predicate_of(0), i.op[1] = predicate_of(1);
    i.imm = operands[1].negated ? 1 : 0;
    i.run = predicate<p_not>;
    return true;
  }
  take(2, is_wide(type));
  i.run = type == Type::b16_   ? unary<u16, Not>
          : type == Type::b32_ ? unary<u32, Not>
          : type == Type::b64_ ? unary<u64, Not>
                               : nullptr;
  return i.run != nullptr;
}

/// copysign.
bool Decoding::copy_sign() {
  take(3, is_wide(type));
  i.run = float_binary<CopySign>(type);
  return i.run != nullptr;
}

/// shl, shr.
bool Decoding::shift() {
  if (operands.size() != 3) return false;
  i.op[0] = place(0, is_wide(type)), i.op[1] = place(1, is_wide(type)), i.op[2] = place(2, false);
  i.run = name == "shl" ? any_shl(type) : any_shr(type);
  return i.run != nullptr;
}

/// shf.
bool Decoding::funnel_shift() {
  take(4, false);
  i.run = has("l") ? (has("wrap") ? funnel<true, true> : funnel<true, false>)
                   : (has("wrap") ? funnel<false, true> : funnel<false, false>);
  return true;
}

/// prmt.
bool Decoding::permute() {
  take(4, false);
  i.run = prmt;
  return type == Type::b32_ && parts.size() == 2;
}

/// lop3.
bool Decoding::logic_of_three() {
  if (operands.size() != 5 || operands[4].kind != Operand::immediate) return false;
  for (std::size_t k = 0; k < 4; ++k) i.op[k] = place(k, false);
  i.imm = operands[4].value;
  i.run = lop3;
  return true;
}

/// bfe, bfi.
bool Decoding::bit_field() {
  const bool wide = is_wide(type), insert = name == "bfi";
  if (operands.size() != (insert ? 5u : 4u)) return false;
  for (std::size_t k = 0; k < operands.size(); ++k) i.op[k] = place(k, wide && k < operands.size() - 2);
  if (insert)
    i.run = wide ? bfi<u64> : bfi<u32>;
  else
    i.run = type == Type::u32_ ? bfe<u32> : type == Type::s32_ ? bfe<i32> : type == Type::u64_ ? bfe<u64> : bfe<i64>;
  return true;
}

/// popc, clz, bfind, brev.
bool Decoding::count() {
  if (operands.size() != 2) return false;
  i.op[0] = place(0, name == "brev" && is_wide(type));
  i.op[1] = place(1, is_wide(type));
  i.imm = has("shiftamt") ? 1 : 0;
  if (name == "popc")
    i.run = is_wide(type) ? count_bits<u64, popc64> : count_bits<u32, popc32>;
  else if (name == "clz")
    i.run = is_wide(type) ? count_bits<u64, clz64> : count_bits<u32, clz32>;
  else if (name == "brev")
    i.run = is_wide(type) ? unary<u64, Brev> : unary<u32, Brev>;
  else
    i.run = type == Type::u32_   ? bfind<u32>
            : type == Type::s32_ ? bfind<i32>
            : type == Type::u64_ ? bfind<u64>
                                 : bfind<i64>;
  return true;
}

/// setp.
bool Decoding::comparison() {
  if (operands.size() < 3 || slow) return false;
  i.op[0] = predicate_of(0);
  i.op[1] = place(1, is_wide(type)), i.op[2] = place(2, is_wide(type));
  i.op[4] = operands[0].second;
  i.imm = has("and") ? 1 : has("or") ? 2 : has("xor") ? 3 : 0;
  if (i.imm != 0) {
    i.op[3] = predicate_of(3);
    if (operands[3].negated) i.flags |= negate_predicate;
  }
  i.run = compare(parts[1], type);
  return i.run != nullptr;
}

/// selp.
bool Decoding::selection() {
  if (operands.size() != 4) return false;
  for (std::size_t k = 0; k < 3; ++k) i.op[k] = place(k, is_wide(type));
  i.op[3] = predicate_of(3);
  if (operands[3].negated) i.flags |= negate_predicate;
  i.run = any_selp(type);
  return i.run != nullptr;
}

/// testp.
bool Decoding::number_test() {
  i.op[0] = predicate_of(0), i.op[1] = place(1, is_wide(type));
  i.imm = has("finite") ? 0 : has("infinite") ? 1 : has("number") ? 2 : has("notanumber") ? 3 : has("normal") ? 4 : 5;
  i.run = type == Type::f32_ ? testp<float> : testp<double>;
  return true;
}

/// mov.
bool Decoding::move() {
  if (operands.size() != 2) return false;
  if (type == Type::pred) {
    i.op[0] = predicate_of(0), i.op[1] = predicate_of(1);
    i.imm = operands[1].negated ? 1 : 0;
    i.run = predicate<p_mov>;
    return true;
  }
  const Operand &d = operands[0], &s = operands[1];
  if (d.kind == Operand::vector) {
    i.op[2] = place(1, is_wide(type));
    for (std::size_t k = 0; k < d.parts.size(); ++k)
      if (d.parts[k].kind == Operand::reg) i.imm |= i64{1} << k;
    if (d.parts.size() == 4) {
      i.list = list(d, false);
      i.run = unpack_quarters;
      return is_wide(type);
    }
    i.op[0] = d.parts[0].place, i.op[1] = d.parts[1].place;
    i.run = is_wide(type) ? unpack_64 : unpack_32;
    return d.parts.size() == 2;
  }
  if (s.kind == Operand::vector) {
    i.op[0] = place(0, is_wide(type));
    const u32 first = list(s, false);
    i.list = first;
    if (s.parts.size() == 4) {
      i.run = pack_quarters;
      return is_wide(type);
    }
    i.op[1] = program.lists[first], i.op[2] = program.lists[first + 1];
    i.run = is_wide(type) ? pack_64 : pack_32;
    return s.parts.size() == 2;
  }
  const bool wide = is_wide(type);
  i.op[0] = place(0, wide), i.op[1] = place(1, wide);
  i.run = wide ? unary<u64, Move> : unary<u32, Move>;
  return type != Type::none;
}

/// cvt.
bool Decoding::conversion() {
  if (type == Type::f32_ && (before == Type::bf16x2 || before == Type::f16x2)) {
    take(3, false);
    i.imm = has("relu") ? 1 : 0;
    i.run = before == Type::bf16x2 ? cvt_pair<float_to_bhalf> : cvt_pair<float_to_half>;
    return i.rounding == nearest;
  }
  if (before == Type::tf32) {
    take(2, false);
    i.run = cvt_tf32;
    return has("rna");
  }
  if (operands.size() != 2 || before == Type::none) return false;
  const auto any = [&](std::size_t k, Type t) {  // narrow types may sit in wider registers
    const Operand& o = operands[k];
    if (o.kind == Operand::reg && o.bits == 64 && !is_wide(t)) {
      i.wide = static_cast<u8>(i.wide | (k == 0 ? 1 : 2));
      return o.place;
    }
    return place(k, is_wide(t));
  };
  i.op[0] = any(0, before), i.op[1] = any(1, type);
  i.run = any_cvt(before, type);
  return i.run != nullptr;
}

/// cvta, isspacep.
bool Decoding::address_space() {
  const Space space = has("shared")  ? Space::shared
                      : has("local") ? Space::local
                      : has("param") ? Space::param
                                     : Space::global;
  if (name == "isspacep") {
    i.op[0] = predicate_of(0), i.op[1] = place(1, true);
    i.rounding = static_cast<u8>(space);
    i.run = is_space;
    return true;
  }
  i.wide_address = is_wide(type);
  take(2, is_wide(type));
  i.imm = static_cast<i64>(space == Space::shared  ? shared_window
                           : space == Space::local ? local_window
                           : space == Space::param ? param_window
                                                   : 0);
  i.run = has("to") ? convert_address<false> : convert_address<true>;
  return true;
}

/// ld, st, ldu.
bool Decoding::memory_access() {
  const bool is_load = name != "st";
  if (operands.size() != 2) return false;
  const Operand &data = operands[is_load ? 0 : 1], &where = operands[is_load ? 1 : 0];
  i.space = has("global") || has("const") ? Space::global
            : has("shared")               ? Space::shared
            : has("local")                ? Space::local
            : has("param")                ? Space::param
                                          : Space::generic;
  address(where);
  std::size_t n = 1;
  if (has("v2") || has("v4")) {
    n = has("v2") ? 2 : 4;
    if (data.kind != Operand::vector || data.parts.size() != n) return false;
    i.list = list(data, true);
  } else if (data.kind == Operand::immediate) {
    i.op[0] = constant(static_cast<u64>(data.value), is_wide(type));
    i.wide = is_wide(type) ? 1 : 0;
  } else {
    if (data.kind != Operand::reg || data.bits == 1) return false;
    i.op[0] = data.place;
    i.wide = data.bits == 64 ? 1 : 0;
  }
  if (i.space != Space::param) i.run = is_load ? any_load(type, n) : any_store(type, n);
  // Parameters named directly: of the kernel, or of a function. Through a register: of the kernel.
  else if (where.name.empty())
    i.run = is_load ? any_load(type, n) : nullptr;
  else if (where.name == "kernel")
    i.run = is_load ? any_load_parameter(type, n) : nullptr;
  else
    i.run = is_load ? any_load_argument(type, n) : any_store_argument(type, n);
  return i.run != nullptr;
}

/// atom, red.
bool Decoding::atomic() {
  const std::size_t first = name == "atom" ? 1 : 0;
  const bool wide = is_wide(type);
  i.space = has("global") ? Space::global : has("shared") ? Space::shared : Space::generic;
  i.op[0] = nowhere;
  if (name == "atom") i.op[0] = place(0, wide);
  address(operands.at(first));
  const i64 offset = i.imm;
  i.op[1] = place(first + 1, wide);
  i.rounding = has("add")    ? a_add
               : has("min")  ? a_min
               : has("max")  ? a_max
               : has("exch") ? a_exch
               : has("cas")  ? a_cas
               : has("and")  ? a_and
               : has("or")   ? a_or
               : has("xor")  ? a_xor
               : has("inc")  ? a_inc
               : has("dec")  ? a_dec
                             : 255;
  i.op[2] = i.rounding == a_cas ? place(first + 2, wide) : nowhere;
  i.imm = offset;
  i.run = i.rounding == 255 ? nullptr : any_atomic(type);
  return i.run != nullptr;
}

/// cp.
bool Decoding::asynchronous_copy() {
  if (!has("async") || has("bulk") || has("mbarrier")) return false;
  if (has("commit_group"))
    i.run = commit_group;
  else if (has("wait_all"))
    i.run = wait_group, i.imm = -1;
  else if (has("wait_group"))
    i.run = wait_group, i.imm = operands.at(0).value;
  else {
    const Operand &to = operands.at(0), &from = operands.at(1);
    if (to.kind != Operand::address || from.kind != Operand::address || !from.wide || operands.size() < 3) return false;
    i.op[0] = to.place, i.imm = to.value, i.wide = to.wide ? 1 : 0;
    i.op[1] = from.place, i.target = static_cast<u32>(from.value);
    if (from.value < 0) return false;
    i.op[2] = static_cast<i32>(operands[2].value);
    i.op[3] = operands.size() > 3 ? place(3, false) : nowhere;
    i.run = copy_async;
    return i.op[2] == 4 || i.op[2] == 8 || i.op[2] == 16;
  }
  return true;
}

/// shfl.
bool Decoding::lane_shuffle() {
  if (operands.size() != 5 || !has("sync")) return false;
  i.list = static_cast<u32>(program.lists.size());
  const i32 d = place(0, false), a = place(1, false), b = place(2, false), c = place(3, false),
            members = place(4, false);
  for (const i32 v : {d, operands[0].second, a, b, c, members}) program.lists.push_back(v);
  i.run = has("up") ? shuffle<s_up> : has("down") ? shuffle<s_down> : has("bfly") ? shuffle<s_bfly> : shuffle<s_idx>;
  return true;
}

/// vote.
bool Decoding::lane_vote() {
  if (operands.size() != 3 || !has("sync")) return false;
  const bool ballot = has("ballot");
  i.op[0] = ballot ? place(0, false) : predicate_of(0);
  i.op[1] = predicate_of(1), i.op[2] = place(2, false);
  if (operands[1].negated) i.flags |= negate_predicate;
  i.run = ballot ? vote<v_ballot> : has("all") ? vote<v_all> : has("any") ? vote<v_any> : vote<v_uni>;
  return true;
}

/// redux.
bool Decoding::warp_reduction() {
  take(3, false);
  const bool sign = type == Type::s32_;
  i.run = has("add")   ? reduce_warp<u32, Add>
          : has("min") ? (sign ? reduce_warp<i32, Min> : reduce_warp<u32, Min>)
          : has("max") ? (sign ? reduce_warp<i32, Max> : reduce_warp<u32, Max>)
          : has("and") ? reduce_warp<u32, And>
          : has("or")  ? reduce_warp<u32, Or>
          : has("xor") ? reduce_warp<u32, Xor>
                       : nullptr;
  return i.run != nullptr;
}

/// ldmatrix.
bool Decoding::matrix_load() {
  if (operands.size() != 2) return false;
  const std::size_t n = has("x1") ? 1 : has("x2") ? 2 : 4;
  const Operand& d = operands[0];
  i.list = d.kind == Operand::vector ? list(d, false) : static_cast<u32>(program.lists.size());
  if (d.kind == Operand::reg)
    program.lists.push_back(d.place);
  else if (d.parts.size() != n)
    return false;
  address(operands[1]);
  const bool trans = has("trans");
  i.run = n == 1   ? (trans ? load_matrix<1, true> : load_matrix<1, false>)
          : n == 2 ? (trans ? load_matrix<2, true> : load_matrix<2, false>)
                   : (trans ? load_matrix<4, true> : load_matrix<4, false>);
  return has("m8n8");
}

/// mma.
bool Decoding::matrix_product() {
  if (operands.size() != 4 || !has("row") || !has("col") || type != Type::f32_) return false;
  const bool bf = has("bf16"), f16 = has("f16"), tf = has("tf32");
  i.run = has("m16n8k16")  ? (bf    ? matrix_multiply<f_bf16, 16>
                              : f16 ? matrix_multiply<f_f16, 16>
                                    : nullptr)
          : has("m16n8k8") ? (bf    ? matrix_multiply<f_bf16, 8>
                              : f16 ? matrix_multiply<f_f16, 8>
                              : tf  ? matrix_multiply<f_tf32, 8>
                                    : nullptr)
          : has("m16n8k4") ? (tf ? matrix_multiply<f_tf32, 4> : nullptr)
                           : nullptr;
  if (i.run == nullptr) return false;
  const std::size_t K = has("m16n8k16") ? 16 : has("m16n8k8") ? 8 : 4, per = tf ? 1 : 2;
  const std::size_t expected[] = {4, 16 * K / 32 / per, 8 * K / 32 / per, 4};
  i.list = static_cast<u32>(program.lists.size());
  for (std::size_t k = 0; k < 4; ++k) {
    const Operand& o = operands[k];
    if (o.kind == Operand::reg && expected[k] == 1) {
      program.lists.push_back(o.place);
      continue;
    }
    if (o.kind != Operand::vector || o.parts.size() != expected[k]) return false;
    for (const Operand& r : o.parts)
      program.lists.push_back(r.kind == Operand::immediate ? constant(static_cast<u64>(r.value), false) : r.place);
  }
  return true;
}

/// bar, barrier.
bool Decoding::barriers() {
  if (has("warp")) {
    i.op[0] = place(0, false);
    i.run = warp_barrier;
    return true;
  }
  const bool reduction = has("red");
  if (!reduction && !has("sync")) return false;
  const std::size_t first = reduction ? 1 : 0;
  const bool has_count = operands.size() > first + (reduction ? 2u : 1u);
  i.op[1] = place(first, false);
  i.op[2] = has_count ? place(first + 1, false) : nowhere;
  i.imm = !reduction ? 0 : has("popc") ? 1 : has("and") ? 2 : 3;
  if (reduction) {
    i.op[0] = has("popc") ? place(0, false) : predicate_of(0);
    i.op[3] = predicate_of(operands.size() - 1);
    if (operands.back().negated) i.flags |= negate_predicate;
  }
  i.run = barrier;
  return true;
}

/// Instructions whose operands, if any, are filled in by the parser.
bool Decoding::control() {
  static const std::unordered_map<std::string, decltype(Insn::run)> runs{{"activemask", active_mask},
                                                                         {"bra", jump},
                                                                         {"brx", jump_indexed},
                                                                         {"exit", leave},
                                                                         {"vitrine_return", come_back},
                                                                         {"vitrine_call", call},
                                                                         {"vitrine_copy", copy_argument},
                                                                         {"trap", trap},
                                                                         {"brkpt", trap},
                                                                         {"membar", nothing_to_do},
                                                                         {"fence", nothing_to_do},
                                                                         {"nanosleep", nothing_to_do},
                                                                         {"prefetch", nothing_to_do},
                                                                         {"prefetchu", nothing_to_do},
                                                                         {"griddepcontrol", nothing_to_do}};
  if (name == "brx") i.op[0] = place(0, false);
  i.run = runs.at(name);
  return true;
}

// clang-format off
const std::unordered_map<std::string, bool (Decoding::*)()> families{
    {"add", &Decoding::arithmetic}, {"sub", &Decoding::arithmetic}, {"mul", &Decoding::arithmetic},
    {"div", &Decoding::arithmetic}, {"min", &Decoding::arithmetic}, {"max", &Decoding::arithmetic},
    {"rem", &Decoding::arithmetic}, {"mad", &Decoding::multiply_add}, {"fma", &Decoding::multiply_add},
    {"neg", &Decoding::sign}, {"abs", &Decoding::sign}, {"sqrt", &Decoding::elementary},
    {"rcp", &Decoding::elementary}, {"rsqrt", &Decoding::elementary}, {"ex2", &Decoding::elementary},
    {"lg2", &Decoding::elementary}, {"sin", &Decoding::elementary}, {"cos", &Decoding::elementary},
    {"tanh", &Decoding::elementary}, {"and", &Decoding::logic}, {"or", &Decoding::logic}, {"xor", &Decoding::logic},
    {"not", &Decoding::complement}, {"copysign", &Decoding::copy_sign}, {"shl", &Decoding::shift},
    {"shr", &Decoding::shift}, {"shf", &Decoding::funnel_shift}, {"prmt", &Decoding::permute},
    {"lop3", &Decoding::logic_of_three}, {"bfe", &Decoding::bit_field}, {"bfi", &Decoding::bit_field},
    {"popc", &Decoding::count}, {"clz", &Decoding::count}, {"bfind", &Decoding::count}, {"brev", &Decoding::count},
    {"setp", &Decoding::comparison}, {"selp", &Decoding::selection}, {"testp", &Decoding::number_test},
    {"mov", &Decoding::move}, {"cvt", &Decoding::conversion}, {"cvta", &Decoding::address_space},
    {"isspacep", &Decoding::address_space}, {"ld", &Decoding::memory_access}, {"st", &Decoding::memory_access},
    {"ldu", &Decoding::memory_access}, {"atom", &Decoding::atomic}, {"red", &Decoding::atomic},
    {"cp", &Decoding::asynchronous_copy}, {"shfl", &Decoding::lane_shuffle}, {"vote", &Decoding::lane_vote},
    {"redux", &Decoding::warp_reduction}, {"activemask", &Decoding::control}, {"ldmatrix", &Decoding::matrix_load},
    {"mma", &Decoding::matrix_product}, {"bar", &Decoding::barriers}, {"barrier", &Decoding::barriers},
    {"bra", &Decoding::control}, {"brx", &Decoding::control}, {"exit", &Decoding::control},
    {"vitrine_return", &Decoding::control}, {"vitrine_call", &Decoding::control},
    {"vitrine_copy", &Decoding::control}, {"trap", &Decoding::control}, {"brkpt", &Decoding::control},
    {"membar", &Decoding::control}, {"fence", &Decoding::control}, {"nanosleep", &Decoding::control},
    {"prefetch", &Decoding::control}, {"prefetchu", &Decoding::control}, {"griddepcontrol", &Decoding::control}};
// clang-format on

}  // namespace

bool Decoder::decode(const std::vector<std::string>& parts, const std::vector<Operand>& operands, Insn& i) {
  const auto family = families.find(parts[0]);
  if (family == families.end()) return false;
  Decoding decoding(*this, parts, operands, i);
  return (decoding.*family->second)();
}

}  // namespace vitrine::ptx
