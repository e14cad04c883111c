// The vector kernels compiled for AVX2: one translation unit, one global symbol.
#include "kernels/simd/avx2.h"

#include "kernels/generic.h"

namespace vitrine::kernels {

void fill_avx2(Table<float>& table) noexcept;
void fill_avx2(Table<float>& table) noexcept { fill_table<Avx2>(table); }

}  // namespace vitrine::kernels
