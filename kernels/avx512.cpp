// The vector kernels compiled for AVX-512: one translation unit, one global symbol.
#include "kernels/simd/avx512.h"

#include "kernels/generic.h"

namespace vitrine::kernels {

void fill_avx512(Table<float>& table) noexcept;
void fill_avx512(Table<float>& table) noexcept { fill_table<Avx512>(table); }

}  // namespace vitrine::kernels
