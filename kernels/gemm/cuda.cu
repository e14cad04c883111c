// Matrix products on a CUDA device (kernels/cuda/product.h).
#include "kernels/cuda/product.h"

namespace vitrine::kernels::cuda {

/// C (+)= A B + bias. ADepthFirst: A is not transposed; BDepthFirst: B is.
template <bool ADepthFirst, bool BDepthFirst>
struct GemmProblem {
  using A = MatrixOperand<ADepthFirst>;
  using B = MatrixOperand<BDepthFirst>;
  static constexpr int large_blocks = ADepthFirst && BDepthFirst ? 1 : 2;
  A a_;
  B b_;
  const float* bias = nullptr;
  Substitute bias_sub;
  float* c = nullptr;
  std::int64_t ldc = 0;
  std::int32_t max_m = 0, max_n = 0, depth = 0;
  bool add = false, aligned = false;

  __device__ const GemmProblem& part(int) const { return *this; }
  __device__ int m() const { return max_m; }
  __device__ int n() const { return max_n; }
  __device__ int first() const { return 0; }
  __device__ int last() const { return depth; }
  __device__ const A& a() const { return a_; }
  __device__ const B& b() const { return b_; }

  using Column = int;
  __device__ Column column(int c) const { return c; }
  __device__ float biased(int c, float v) const { return bias ? v + substituted(bias_sub, bias[c]) : v; }
  __device__ void store(int r, Column column, float v) const { put(c[r * ldc + column], biased(column, v), add); }
  __device__ bool vectors() const { return aligned; }
  __device__ void store4(int r, Column column, float4 v) const {
    put4(c + r * ldc + column,
         make_float4(biased(column, v.x), biased(column + 1, v.y), biased(column + 2, v.z), biased(column + 3, v.w)),
         add);
  }
};

namespace {

Work plan(const GemmArgs<float>&) noexcept { return {1, 0, 0}; }
void pack(const GemmArgs<float>&, std::byte*, std::int64_t) noexcept {}

constexpr std::int64_t max_index = std::int64_t{1} << 30;

template <bool ADepthFirst, bool BDepthFirst>
void product(const GemmArgs<float>& g, Math math) noexcept {
  if (g.k > max_index) return fail("a matrix product is deeper than 2^30");
  GemmProblem<ADepthFirst, BDepthFirst> p;
  p.a_.row_stride = ADepthFirst ? g.lda : 1;
  p.a_.depth_stride = ADepthFirst ? 1 : g.lda;
  p.a_.sub = g.a_sub;
  p.b_.row_stride = BDepthFirst ? g.ldb : 1;
  p.b_.depth_stride = BDepthFirst ? 1 : g.ldb;
  p.b_.sub = g.b_sub;
  p.bias_sub = g.bias_sub;
  p.ldc = g.ldc;
  p.depth = static_cast<std::int32_t>(g.k);
  p.add = g.add;
  // More than 2^30 rows or columns are cut into parts.
  for (std::int64_t i = 0; i < g.m; i += max_index) {
    for (std::int64_t j = 0; j < g.n; j += max_index) {
      p.max_m = p.a_.rows = static_cast<std::int32_t>(g.m - i < max_index ? g.m - i : max_index);
      p.max_n = p.b_.rows = static_cast<std::int32_t>(g.n - j < max_index ? g.n - j : max_index);
      p.a_.data = g.a + i * p.a_.row_stride;
      p.b_.data = g.b + j * p.b_.row_stride;
      p.bias = g.bias ? g.bias + j : nullptr;
      p.c = g.c + i * g.ldc + j;
      p.aligned = g.ldc % 4 == 0 && reinterpret_cast<std::uintptr_t>(p.c) % 16 == 0;
      launch_product(p, 1, g.a_sub.raw() && g.b_sub.raw(), math);
    }
  }
}

template <Math math>
void tile(const GemmArgs<float>& g, const std::byte*, std::byte*, std::int64_t) noexcept {
  if (g.a_transposed)
    g.b_transposed ? product<false, true>(g, math) : product<false, false>(g, math);
  else
    g.b_transposed ? product<true, true>(g, math) : product<true, false>(g, math);
}

}  // namespace

void fill_gemm(Table<float>& t, Math math) noexcept {
  t.gemm = {&plan, &pack,
            math == Math::fma    ? &tile<Math::fma>
            : math == Math::tf32 ? &tile<Math::tf32>
                                 : &tile<Math::bf16>};
}

}  // namespace vitrine::kernels::cuda
