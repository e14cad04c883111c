#include "kernels/cudnn/cudnn.h"

#include <cudnn.h>
#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <span>
#include <string>
#include <vector>

#include "kernels/cuda/runtime.h"
#include "kernels/ways.h"

namespace vitrine::kernels::cuda {

cudaStream_t stream() noexcept;  // kernels/cuda/runtime.cu

namespace {

// clang-format off
#define VITRINE_CUDNN_FUNCTIONS(X) \
  X(cudnnCreate) \
  X(cudnnSetStream) \
  X(cudnnGetVersion) \
  X(cudnnGetErrorString) \
  X(cudnnCreateTensorDescriptor) \
  X(cudnnSetTensor4dDescriptor) \
  X(cudnnDestroyTensorDescriptor) \
  X(cudnnCreateFilterDescriptor) \
  X(cudnnSetFilter4dDescriptor) \
  X(cudnnDestroyFilterDescriptor) \
  X(cudnnCreateConvolutionDescriptor) \
  X(cudnnSetConvolution2dDescriptor) \
  X(cudnnSetConvolutionGroupCount) \
  X(cudnnSetConvolutionMathType) \
  X(cudnnGetConvolution2dForwardOutputDim) \
  X(cudnnDestroyConvolutionDescriptor) \
  X(cudnnCreateActivationDescriptor) \
  X(cudnnSetActivationDescriptor) \
  X(cudnnDestroyActivationDescriptor) \
  X(cudnnCreatePoolingDescriptor) \
  X(cudnnSetPooling2dDescriptor) \
  X(cudnnDestroyPoolingDescriptor) \
  X(cudnnGetConvolutionForwardAlgorithm_v7) \
  X(cudnnGetConvolutionForwardWorkspaceSize) \
  X(cudnnConvolutionForward) \
  X(cudnnConvolutionBiasActivationForward) \
  X(cudnnAddTensor) \
  X(cudnnActivationForward) \
  X(cudnnGetConvolutionBackwardDataAlgorithm_v7) \
  X(cudnnConvolutionBackwardData) \
  X(cudnnGetConvolutionBackwardFilterAlgorithm_v7) \
  X(cudnnConvolutionBackwardFilter) \
  X(cudnnBatchNormalizationForwardTraining) \
  X(cudnnBatchNormalizationBackward) \
  X(cudnnPoolingForward) \
  X(cudnnPoolingBackward)
// clang-format on

struct Library {
#define VITRINE_MEMBER(f) decltype(&::f) f = nullptr;
  VITRINE_CUDNN_FUNCTIONS(VITRINE_MEMBER)
#undef VITRINE_MEMBER
} lib;

cudnnHandle_t handle = nullptr;
Table<float> own;  // the slots as they were
Math math = Math::fma;
bool deterministic = true;
char version[32];

constexpr std::size_t workspace_limit = std::size_t{256} << 20;

void must(cudnnStatus_t s) noexcept {
  if (s != CUDNN_STATUS_SUCCESS) fail("cuDNN failed: ", lib.cudnnGetErrorString(s));
}

// Descriptors, gone at the end of a scope.
template <class D, cudnnStatus_t (*Library::*create)(D*), cudnnStatus_t (*Library::*destroy)(D)>
struct Descriptor {
  D d{};
  Descriptor() noexcept { must((lib.*create)(&d)); }
  ~Descriptor() { (lib.*destroy)(d); }
  Descriptor(const Descriptor&) = delete;
  operator D() const noexcept { return d; }
};
struct Tensor : Descriptor<cudnnTensorDescriptor_t, &Library::cudnnCreateTensorDescriptor,
                           &Library::cudnnDestroyTensorDescriptor> {
  Tensor(std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w) noexcept {
    must(lib.cudnnSetTensor4dDescriptor(d, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, static_cast<int>(n),
                                        static_cast<int>(c), static_cast<int>(h), static_cast<int>(w)));
  }
};
struct Filter : Descriptor<cudnnFilterDescriptor_t, &Library::cudnnCreateFilterDescriptor,
                           &Library::cudnnDestroyFilterDescriptor> {
  explicit Filter(const ConvShape& s) noexcept {
    must(lib.cudnnSetFilter4dDescriptor(d, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NCHW, s.oc, s.c / s.groups, s.kh, s.kw));
  }
};
struct Convolution : Descriptor<cudnnConvolutionDescriptor_t, &Library::cudnnCreateConvolutionDescriptor,
                                &Library::cudnnDestroyConvolutionDescriptor> {
  explicit Convolution(const ConvShape& s) noexcept {
    must(lib.cudnnSetConvolution2dDescriptor(d, s.pad_top, s.pad_left, s.stride_h, s.stride_w, s.dilation_h,
                                             s.dilation_w, CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT));
    must(lib.cudnnSetConvolutionGroupCount(d, s.groups));
    // FMA excludes TF32, which DEFAULT allows.
    must(lib.cudnnSetConvolutionMathType(d, math == Math::tf32 ? CUDNN_DEFAULT_MATH : CUDNN_FMA_MATH));
  }
};
struct Activation : Descriptor<cudnnActivationDescriptor_t, &Library::cudnnCreateActivationDescriptor,
                               &Library::cudnnDestroyActivationDescriptor> {
  explicit Activation(cudnnActivationMode_t mode) noexcept {
    must(lib.cudnnSetActivationDescriptor(d, mode, CUDNN_PROPAGATE_NAN, 0));
  }
};
struct Pooling : Descriptor<cudnnPoolingDescriptor_t, &Library::cudnnCreatePoolingDescriptor,
                            &Library::cudnnDestroyPoolingDescriptor> {
  Pooling(const PoolShape& p, cudnnPoolingMode_t mode) noexcept {
    must(lib.cudnnSetPooling2dDescriptor(d, mode, CUDNN_PROPAGATE_NAN, p.kh, p.kw, p.pad_top, p.pad_left, p.stride_h,
                                         p.stride_w));
  }
};

// The cuDNN descriptors of a convolution's call.
struct Described {
  Tensor x, y;
  Filter w;
  Convolution conv;
  explicit Described(const ConvShape& s) noexcept : x(s.n, s.c, s.h, s.w), y(s.n, s.oc, s.oh, s.ow), w(s), conv(s) {}
};

template <class Args>
const char* takes_all(const Args&) noexcept {
  return nullptr;
}

// --- convolutions

using Conv = ConvArgs<float>;
enum class Pass : std::uint8_t { forward, data, filter };

struct Algorithm {
  int number = -1;
  std::size_t bytes = 0;
  const char* refusal = nullptr;
};

template <class Perf>
Algorithm first_fit(std::span<const Perf> found) noexcept {
  for (const Perf& p : found)
    if (p.status == CUDNN_STATUS_SUCCESS && p.memory <= workspace_limit &&
        (!deterministic || p.determinism == CUDNN_DETERMINISTIC))
      return {static_cast<int>(p.algo), p.memory};
  return {
      -1, 0,
      deterministic ? "has no deterministic algorithm within the workspace" : "has no algorithm within the workspace"};
}

// cuDNN's answer for a shape, asked once.
bool makes_output(const Described& d, const ConvShape& s) noexcept {
  int n = 0, c = 0, h = 0, w = 0;
  return lib.cudnnGetConvolution2dForwardOutputDim(d.conv, d.x, d.w, &n, &c, &h, &w) == CUDNN_STATUS_SUCCESS &&
         n == s.n && c == s.oc && h == s.oh && w == s.ow;
}
Algorithm algorithm(Pass pass, const ConvShape& s) noexcept {
  struct Known {
    Pass pass;
    ConvShape s;
    Algorithm algorithm;
  };
  static std::vector<Known> known;
  for (const Known& k : known)
    if (k.pass == pass && k.s == s) return k.algorithm;
  const Described d(s);
  Algorithm best{-1, 0, "offers no algorithm"};
  int n = 0;
  if (!makes_output(d, s)) {
    best.refusal = "padding differs between the sides, or is larger than it takes";
  } else if (pass == Pass::forward) {
    std::array<cudnnConvolutionFwdAlgoPerf_t, 8> found;
    if (lib.cudnnGetConvolutionForwardAlgorithm_v7(handle, d.x, d.w, d.conv, d.y, 8, &n, found.data()) ==
        CUDNN_STATUS_SUCCESS)
      best = first_fit<cudnnConvolutionFwdAlgoPerf_t>({found.data(), static_cast<std::size_t>(n)});
  } else if (pass == Pass::data) {
    std::array<cudnnConvolutionBwdDataAlgoPerf_t, 8> found;
    if (lib.cudnnGetConvolutionBackwardDataAlgorithm_v7(handle, d.w, d.y, d.conv, d.x, 8, &n, found.data()) ==
        CUDNN_STATUS_SUCCESS)
      best = first_fit<cudnnConvolutionBwdDataAlgoPerf_t>({found.data(), static_cast<std::size_t>(n)});
  } else {
    std::array<cudnnConvolutionBwdFilterAlgoPerf_t, 8> found;
    if (lib.cudnnGetConvolutionBackwardFilterAlgorithm_v7(handle, d.x, d.y, d.conv, d.w, 8, &n, found.data()) ==
        CUDNN_STATUS_SUCCESS)
      best = first_fit<cudnnConvolutionBwdFilterAlgoPerf_t>({found.data(), static_cast<std::size_t>(n)});
  }
  known.push_back({pass, s, best});
  return best;
}

std::int64_t sizes(const ConvShape& s, bool x) noexcept {
  return x ? std::int64_t{s.n} * s.c * s.h * s.w : std::int64_t{s.oc} * (s.c / s.groups) * s.kh * s.kw;
}

const char* refuses_shape(Pass pass, const Conv& a) noexcept {
  const ConvShape& s = a.s;
  if (math == Math::bf16) return "multiplies no float tensors in bf16";
  if (sizes(s, true) >= std::int64_t{1} << 31 || std::int64_t{s.n} * s.oc * s.oh * s.ow >= std::int64_t{1} << 31)
    return "has tensors of 2^31 elements";
  if (s.groups > 1 && s.groups == s.c) return "depthwise convolutions have a kernel of their own";
  // Substituted operands are written to memory first: that pays if an operand is read often.
  const bool x_mapped = pass != Pass::data && !a.x_sub.raw(), w_mapped = pass != Pass::filter && !a.w_sub.raw();
  if ((x_mapped && a.x_sub.zero()) || (w_mapped && a.w_sub.zero())) return "an operand is nothing";
  if (w_mapped && std::int64_t{s.n} * s.oh * s.ow < 64) return "too few places to map the weights for";
  if (x_mapped && std::int64_t{s.oc / s.groups} * s.kh * s.kw < 64) return "too few weights to map the input for";
  return algorithm(pass, s).refusal;
}

// Substituted weights are packed (and kept while parameters do not change). Scratch: substituted input and bias, then
// cuDNN's workspace, each at a multiple of 256 bytes.
struct Scratch {
  std::size_t w = 0, bias = 0, workspace = 0, total = 0;  // w: bytes; the others are places
};
Scratch scratch_of(Pass pass, const Conv& a, std::size_t workspace) noexcept {
  const auto up = [](std::size_t b) { return (b + 255) / 256 * 256; };
  Scratch s;
  s.w = pass != Pass::filter && !a.w_sub.raw() ? static_cast<std::size_t>(sizes(a.s, false)) * sizeof(float) : 0;
  s.bias = (pass != Pass::data && !a.x_sub.raw() ? up(static_cast<std::size_t>(sizes(a.s, true)) * sizeof(float)) : 0);
  s.workspace = s.bias + (pass == Pass::forward && a.bias != nullptr && !a.bias_sub.raw()
                              ? up(static_cast<std::size_t>(a.s.oc) * sizeof(float))
                              : 0);
  s.total = s.workspace + workspace;
  return s;
}
const float* mapped(Substitute sub, const float* from, std::byte* to, std::int64_t n) noexcept {
  if (sub.raw()) return from;
  own.substitute(sub, from, reinterpret_cast<float*>(to), n, false);
  return reinterpret_cast<const float*>(to);
}

constexpr float one = 1, zero_factor = 0;

template <Pass pass>
void pack(const Conv& a, std::byte* shared, std::int64_t) noexcept {
  if (pass != Pass::filter) mapped(a.w_sub, a.w, shared, sizes(a.s, false));
}
const float* weights(const Conv& a, const std::byte* shared) noexcept {
  return a.w_sub.raw() ? a.w : reinterpret_cast<const float*>(shared);
}

template <Pass pass>
const char* refuses(const Conv& a) noexcept {
  return refuses_shape(pass, a);
}
template <Pass pass>
Work plan(const Conv& a) noexcept {
  const Scratch s = scratch_of(pass, a, algorithm(pass, a.s).bytes);
  return {1, s.w, s.total};
}

void forward(const Conv& a, const std::byte* shared, std::byte* scratch, std::int64_t) noexcept {
  const Algorithm chosen = algorithm(Pass::forward, a.s);
  const Scratch at = scratch_of(Pass::forward, a, chosen.bytes);
  const Described d(a.s);
  const float* const x = mapped(a.x_sub, a.x, scratch, sizes(a.s, true));
  must(lib.cudnnConvolutionForward(handle, &one, d.x, x, d.w, weights(a, shared), d.conv,
                                   static_cast<cudnnConvolutionFwdAlgo_t>(chosen.number), scratch + at.workspace,
                                   chosen.bytes, a.add ? &one : &zero_factor, d.y, a.y_out));
  if (a.bias != nullptr && !a.bias_sub.zero()) {
    const Tensor b(1, a.s.oc, 1, 1);
    must(
        lib.cudnnAddTensor(handle, &one, b, mapped(a.bias_sub, a.bias, scratch + at.bias, a.s.oc), &one, d.y, a.y_out));
  }
  if (a.relu)
    must(lib.cudnnActivationForward(handle, Activation(CUDNN_ACTIVATION_RELU), &one, d.y, a.y_out, &zero_factor, d.y,
                                    a.y_out));
}

// Convolution, old output, bias and ReLU in one kernel. Without ReLU cuDNN offers it for one algorithm only.
cudnnConvolutionFwdAlgo_t fused_algorithm(const Conv& a) noexcept {
  return a.relu ? static_cast<cudnnConvolutionFwdAlgo_t>(algorithm(Pass::forward, a.s).number)
                : CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;
}
std::size_t fused_bytes(const Conv& a) noexcept {
  const Described d(a.s);
  std::size_t bytes = 0;
  return lib.cudnnGetConvolutionForwardWorkspaceSize(handle, d.x, d.w, d.conv, d.y, fused_algorithm(a), &bytes) ==
                 CUDNN_STATUS_SUCCESS
             ? bytes
             : ~std::size_t{0};
}
const char* refuses_fused(const Conv& a) noexcept {
  if (a.bias == nullptr || a.bias_sub.zero()) return "there is no bias";
  if (const char* const why = refuses_shape(Pass::forward, a)) return why;
  return algorithm(Pass::forward, a.s).number == fused_algorithm(a)
             ? nullptr
             : "another algorithm is faster than the one that takes a bias";
}
Work plan_fused(const Conv& a) noexcept {
  const Scratch s = scratch_of(Pass::forward, a, fused_bytes(a));
  return {1, s.w, s.total};
}
void fused(const Conv& a, const std::byte* shared, std::byte* scratch, std::int64_t) noexcept {
  const std::size_t bytes = fused_bytes(a);
  const Scratch at = scratch_of(Pass::forward, a, bytes);
  const Described d(a.s);
  const Tensor b(1, a.s.oc, 1, 1);
  const Activation activation(a.relu ? CUDNN_ACTIVATION_RELU : CUDNN_ACTIVATION_IDENTITY);
  must(lib.cudnnConvolutionBiasActivationForward(
      handle, &one, d.x, mapped(a.x_sub, a.x, scratch, sizes(a.s, true)), d.w, weights(a, shared), d.conv,
      fused_algorithm(a), scratch + at.workspace, bytes, a.add ? &one : &zero_factor, d.y, a.y_out, b,
      mapped(a.bias_sub, a.bias, scratch + at.bias, a.s.oc), activation, d.y, a.y_out));
}

void backward_data(const Conv& a, const std::byte* shared, std::byte* scratch, std::int64_t) noexcept {
  const Algorithm chosen = algorithm(Pass::data, a.s);
  const Scratch at = scratch_of(Pass::data, a, chosen.bytes);
  const Described d(a.s);
  must(lib.cudnnConvolutionBackwardData(handle, &one, d.w, weights(a, shared), d.y, a.y, d.conv,
                                        static_cast<cudnnConvolutionBwdDataAlgo_t>(chosen.number),
                                        scratch + at.workspace, chosen.bytes, a.add ? &one : &zero_factor, d.x,
                                        a.x_out));
}

void backward_filter(const Conv& a, const std::byte*, std::byte* scratch, std::int64_t) noexcept {
  const Algorithm chosen = algorithm(Pass::filter, a.s);
  const Scratch at = scratch_of(Pass::filter, a, chosen.bytes);
  const Described d(a.s);
  must(lib.cudnnConvolutionBackwardFilter(handle, &one, d.x, mapped(a.x_sub, a.x, scratch, sizes(a.s, true)), d.y, a.y,
                                          d.conv, static_cast<cudnnConvolutionBwdFilterAlgo_t>(chosen.number),
                                          scratch + at.workspace, chosen.bytes, a.add ? &one : &zero_factor, d.w,
                                          a.w_out));
}

// Lists for ByWays. They are filled when the module opens, since the last way is the slot as it was.
struct Forward {
  static constexpr const char* kernel = "conv_forward";
  static inline Way<Conv> ways[3];
};
struct Data {
  static constexpr const char* kernel = "conv_backward_data";
  static inline Way<Conv> ways[2];
};
struct FilterGradient {
  static constexpr const char* kernel = "conv_backward_weights";
  static inline Way<Conv> ways[2];
};

// --- batch norm

using Norm = BatchNormArgs<float>;
using NormKernel = void (*)(const Norm&) noexcept;

const char* refuses_norm(const Norm& a) noexcept {
  if (a.first != 0 || a.last != a.channels) return "takes all channels or none";
  if (a.images * a.pixels < 2) return "one element has no variance";
  if (a.images * a.channels * a.pixels >= std::int64_t{1} << 31) return "has tensors of 2^31 elements";
  if (static_cast<double>(a.eps) < CUDNN_BN_MIN_EPSILON) return "eps is too small";
  return nullptr;
}
const char* refuses_norm_forward(const Norm& a) noexcept {
  if (a.running_mean == nullptr || a.running_var == nullptr || a.gamma == nullptr || a.beta == nullptr ||
      a.mean == nullptr || a.inv_std == nullptr)
    return "needs scale, shift and statistics";
  if (a.residual != nullptr || a.relu) return "does no sum and no ReLU";
  return refuses_norm(a);
}
const char* refuses_norm_backward(const Norm& a) noexcept {
  if (a.constant) return "statistics are constants";
  if (a.dx == a.dy) return "does not promise to work in place";
  if (a.dx == nullptr || a.dgamma == nullptr || a.dbeta == nullptr) return "makes all gradients or none";
  if (a.add_dgamma != a.add_dbeta) return "gradients of scale and shift add alike";
  return refuses_norm(a);
}
void norm_forward(const Norm& a) noexcept {
  const Tensor x(a.images, a.channels, a.pixels, 1), c(1, a.channels, 1, 1);
  must(lib.cudnnBatchNormalizationForwardTraining(handle, CUDNN_BATCHNORM_SPATIAL, &one, &zero_factor, x, a.x, x, a.y,
                                                  c, a.gamma, a.beta, static_cast<double>(a.momentum), a.running_mean,
                                                  a.running_var, static_cast<double>(a.eps), a.mean, a.inv_std));
}
void norm_backward(const Norm& a) noexcept {
  const Tensor x(a.images, a.channels, a.pixels, 1), c(1, a.channels, 1, 1);
  must(lib.cudnnBatchNormalizationBackward(handle, CUDNN_BATCHNORM_SPATIAL, &one, a.add_dx ? &one : &zero_factor, &one,
                                           a.add_dgamma ? &one : &zero_factor, x, a.x, x, a.dy, x, a.dx, c, a.gamma,
                                           a.dgamma, a.dbeta, static_cast<double>(a.eps), a.mean, a.inv_std));
}
struct NormForward {
  static constexpr const char* kernel = "batch_norm_forward";
  static inline Way<Norm, NormKernel> ways[2];
};
struct NormBackward {
  static constexpr const char* kernel = "batch_norm_backward";
  static inline Way<Norm, NormKernel> ways[2];
};
template <class List>
void run_norm(const Norm& a) noexcept {
  choose(List::ways, a).kernel(a);
}
template <class List>
Choice norm_choice(const Norm& a) noexcept {
  return explain_choice(List::kernel, List::ways, a);
}

// --- pools

const char* refuses_pool(const PoolShape& p) noexcept {
  if (p.adaptive) return "has no adaptive windows";
  if (p.dilation_h != 1 || p.dilation_w != 1) return "has no dilation";
  if (p.pad_top != p.pad_bottom || p.pad_left != p.pad_right) return "padding differs between the sides";
  if ((p.h + 2 * p.pad_top - p.kh) / p.stride_h + 1 != p.oh || (p.w + 2 * p.pad_left - p.kw) / p.stride_w + 1 != p.ow)
    return "windows reach beyond the padding";
  if (p.planes * p.h * p.w >= std::int64_t{1} << 31) return "has tensors of 2^31 elements";
  return nullptr;
}
cudnnPoolingMode_t average_mode(const PoolShape& p) noexcept {
  return p.count_padding ? CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING : CUDNN_POOLING_AVERAGE_COUNT_EXCLUDE_PADDING;
}

// A pool and what its result is for.
struct PoolCall {
  PoolShape shape;
  bool switches = false;
};
const char* refuses_pool_call(const PoolCall& a) noexcept {
  return a.switches ? "tells no switches" : refuses_pool(a.shape);
}
void max_pool(const PoolShape& p, const float* x, float* y, Switch*) noexcept {
  const Pooling pool(p, deterministic ? CUDNN_POOLING_MAX_DETERMINISTIC : CUDNN_POOLING_MAX);
  const Tensor dx(1, p.planes, p.h, p.w), dy(1, p.planes, p.oh, p.ow);
  must(lib.cudnnPoolingForward(handle, pool, &one, dx, x, &zero_factor, dy, y));
}
void average_pool(const PoolShape& p, const float* x, float* y) noexcept {
  const Pooling pool(p, average_mode(p));
  const Tensor dx(1, p.planes, p.h, p.w), dy(1, p.planes, p.oh, p.ow);
  must(lib.cudnnPoolingForward(handle, pool, &one, dx, x, &zero_factor, dy, y));
}
void average_pool_back(const PoolShape& p, const float* y, float* x, bool add) noexcept {
  const Pooling pool(p, average_mode(p));
  const Tensor dx(1, p.planes, p.h, p.w), dy(1, p.planes, p.oh, p.ow);
  // For an average cuDNN reads neither input nor output, but the pointers must not be null.
  must(lib.cudnnPoolingBackward(handle, pool, &one, dy, y, dy, y, dx, x, add ? &one : &zero_factor, dx, x));
}

struct MaxPool {
  static constexpr const char* kernel = "max_pool_forward";
  static inline Way<PoolCall, decltype(Table<float>::max_pool_forward)> ways[2];
  static void run(const PoolShape& p, const float* x, float* y, Switch* switches) noexcept {
    choose(ways, PoolCall{p, switches != nullptr}).kernel(p, x, y, switches);
  }
  static Choice choice(const PoolShape& p, bool switches) noexcept {
    return explain_choice(kernel, ways, PoolCall{p, switches});
  }
};
struct AvgPool {
  static constexpr const char* kernel = "avg_pool_forward";
  static inline Way<PoolShape, decltype(Table<float>::avg_pool_forward)> ways[2];
  static void run(const PoolShape& p, const float* x, float* y) noexcept { choose(ways, p).kernel(p, x, y); }
  static Choice choice(const PoolShape& p) noexcept { return explain_choice(kernel, ways, p); }
};
struct AvgPoolBackward {
  static constexpr const char* kernel = "avg_pool_backward";
  static inline Way<PoolShape, decltype(Table<float>::avg_pool_backward)> ways[2];
  static void run(const PoolShape& p, const float* y, float* x, bool add) noexcept {
    choose(ways, p).kernel(p, y, x, add);
  }
  static Choice choice(const PoolShape& p) noexcept { return explain_choice(kernel, ways, p); }
};

template <class List, class W>
void set_ways(std::initializer_list<W> ways) noexcept {
  std::copy(ways.begin(), ways.end(), std::begin(List::ways));
}

// The lists, each with the slot as it was at its end, in the place of the slots.
void fill(Table<float>& t) noexcept {
  using ConvWay = Way<Conv>;
  using NormWay = Way<Norm, NormKernel>;
  set_ways<Forward, ConvWay>(
      {{"cuDNN with bias", &refuses_fused, {&plan_fused, &pack<Pass::forward>, &fused}},
       {"cuDNN", &refuses<Pass::forward>, {&plan<Pass::forward>, &pack<Pass::forward>, &forward}},
       {"own kernel", &takes_all<Conv>, own.conv_forward}});
  set_ways<Data, ConvWay>({{"cuDNN", &refuses<Pass::data>, {&plan<Pass::data>, &pack<Pass::data>, &backward_data}},
                           {"own kernel", &takes_all<Conv>, own.conv_backward_data}});
  set_ways<FilterGradient, ConvWay>(
      {{"cuDNN", &refuses<Pass::filter>, {&plan<Pass::filter>, &pack<Pass::filter>, &backward_filter}},
       {"own kernel", &takes_all<Conv>, own.conv_backward_weights}});
  t.conv_forward = conv_by_ways<Forward>();
  t.conv_backward_data = conv_by_ways<Data>();
  t.conv_backward_weights = conv_by_ways<FilterGradient>();
  set_ways<NormForward, NormWay>(
      {{"cuDNN", &refuses_norm_forward, &norm_forward}, {"own kernel", &takes_all<Norm>, own.batch_norm_forward}});
  set_ways<NormBackward, NormWay>(
      {{"cuDNN", &refuses_norm_backward, &norm_backward}, {"own kernel", &takes_all<Norm>, own.batch_norm_backward}});
  t.batch_norm_forward = &run_norm<NormForward>;
  t.batch_norm_backward = &run_norm<NormBackward>;
  set_ways<MaxPool, std::remove_extent_t<decltype(MaxPool::ways)>>(
      {{"cuDNN", &refuses_pool_call, &max_pool}, {"own kernel", &takes_all<PoolCall>, own.max_pool_forward}});
  set_ways<AvgPool, std::remove_extent_t<decltype(AvgPool::ways)>>(
      {{"cuDNN", &refuses_pool, &average_pool}, {"own kernel", &takes_all<PoolShape>, own.avg_pool_forward}});
  set_ways<AvgPoolBackward, std::remove_extent_t<decltype(AvgPoolBackward::ways)>>(
      {{"cuDNN", &refuses_pool, &average_pool_back}, {"own kernel", &takes_all<PoolShape>, own.avg_pool_backward}});
  t.max_pool_forward = &MaxPool::run;
  t.avg_pool_forward = &AvgPool::run;
  t.avg_pool_backward = &AvgPoolBackward::run;
  t.choices = {.max_pool_forward = &MaxPool::choice,
               .avg_pool_forward = &AvgPool::choice,
               .avg_pool_backward = &AvgPoolBackward::choice,
               .batch_norm_forward = &norm_choice<NormForward>,
               .batch_norm_backward = &norm_choice<NormBackward>};
}

bool open_library(const char** why) noexcept {
  const char* const named = std::getenv("VITRINE_CUDNN_LIBRARY");
  const char* const file = named != nullptr && *named != '\0' ? named : "libcudnn.so.9";
  void* const opened = dlopen(file, RTLD_NOW | RTLD_LOCAL);
  if (opened == nullptr) return *why = "libcudnn.so.9 is not there", false;
#define VITRINE_LOAD(f)                                         \
  lib.f = reinterpret_cast<decltype(lib.f)>(dlsym(opened, #f)); \
  if (lib.f == nullptr) return *why = "libcudnn.so.9 has no " #f, false;
  VITRINE_CUDNN_FUNCTIONS(VITRINE_LOAD)
#undef VITRINE_LOAD
  if (lib.cudnnGetVersion() / 10000 != 9) return *why = "libcudnn is not of version 9", false;
  if (const cudnnStatus_t s = lib.cudnnCreate(&handle); s != CUDNN_STATUS_SUCCESS)
    return *why = lib.cudnnGetErrorString(s), false;
  if (const cudnnStatus_t s = lib.cudnnSetStream(handle, stream()); s != CUDNN_STATUS_SUCCESS)
    return *why = lib.cudnnGetErrorString(s), false;
  return true;
}

}  // namespace

const char* fill_cudnn(Table<float>& t, Math m, const char** why) noexcept {
  const char* const wanted = std::getenv("VITRINE_CUDNN");
  const std::string mode = wanted != nullptr && *wanted != '\0' ? wanted : "deterministic";
  if (mode == "off") return *why = "VITRINE_CUDNN=off", nullptr;
  if (mode != "deterministic" && mode != "fast")
    return *why = "VITRINE_CUDNN is none of off, deterministic, fast", nullptr;
  deterministic = mode == "deterministic";
  math = m;
  own = t;
  if (handle == nullptr && !open_library(why)) return nullptr;
  const std::size_t v = lib.cudnnGetVersion();
  std::snprintf(version, sizeof version, "%zu.%zu.%zu", v / 10000, v / 100 % 100, v % 100);

  fill(t);
  return version;
}

}  // namespace vitrine::kernels::cuda
