// The families of kernels: each fills its slots of a device's table (kernels/*/cuda.cu).
#pragma once

#include "kernels/kernels.h"

namespace vitrine::kernels::cuda {

/// How matrix products and convolutions multiply. `fma` is the default and exact up to float's roundoff. The others are
/// the tensor cores' (sm_80 on): operands are rounded to the type, products and sums are float. With u = 2^-11 for tf32
/// and 2^-8 for bf16, a sum of k products errs by at most (2u + u^2 + (k + 6) 2^-24) times the sum of their magnitudes.
enum class Math : unsigned char { fma, tf32, bf16 };

/// Settings to be tuned by measurement on a chip.
struct Tuning {
  int large_from = 128;  ///< blocks from which on a product takes the large tile; 0: always
};
extern Tuning tuning;

void fill_gemm(Table<float>&, Math) noexcept;
void fill_conv(Table<float>&, Math) noexcept;
void fill_pool(Table<float>&) noexcept;
void fill_eltwise(Table<float>&) noexcept;
void fill_reduce(Table<float>&) noexcept;
void fill_norm(Table<float>&) noexcept;
void fill_filters(Table<float>&) noexcept;
void fill_resize(Table<float>&) noexcept;
void fill_softmax(Table<float>&) noexcept;
void fill_optim(Table<float>&) noexcept;
void fill_explain(Table<float>&) noexcept;

}  // namespace vitrine::kernels::cuda
