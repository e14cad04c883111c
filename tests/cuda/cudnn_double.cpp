// A test double of cuDNN above the libcudart stand-in. Descriptors are the real library's, which checks them without a
// GPU; what would need one is done here: algorithms are offered, and executions check their descriptors, pointers and
// workspace, write over the whole workspace, as the real ones may, and compute a reference in double. Faults are
// printed and returned.
#include <cuda_runtime_api.h>
#include <cudnn.h>
#include <dlfcn.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace {

struct Fault {
  std::string what;
};

void need(bool condition, const std::string& what) {
  if (!condition) throw Fault{what};
}

cudaStream_t used_stream = nullptr;
std::map<std::string, long> calls;
long descriptors = 0;

struct AtExit {
  ~AtExit() {
    if (std::getenv("VITRINE_CUDNN_DOUBLE_REPORT") == nullptr) return;
    std::fprintf(stderr, "cuDNN double: %ld descriptors left;", descriptors);
    for (const auto& [name, n] : calls) std::fprintf(stderr, " %ld %s", n, name.c_str());
    std::fprintf(stderr, "\n");
  }
} at_exit;

template <class F>
cudnnStatus_t guarded(const char* name, F&& f) {
  ++calls[name];
  try {
    f();
    return CUDNN_STATUS_SUCCESS;
  } catch (const Fault& e) {
    std::fprintf(stderr, "cuDNN double: %s: %s\n", name, e.what.c_str());
    return CUDNN_STATUS_EXECUTION_FAILED;
  }
}

struct Shape {
  int n, c, h, w;
  std::size_t size() const {
    return static_cast<std::size_t>(n) * static_cast<std::size_t>(c) * static_cast<std::size_t>(h) *
           static_cast<std::size_t>(w);
  }
  bool operator==(const Shape& o) const { return n == o.n && c == o.c && h == o.h && w == o.w; }
};

Shape shape_of(cudnnTensorDescriptor_t d) {
  cudnnDataType_t type;
  Shape s{};
  int a, b, c, e;
  need(cudnnGetTensor4dDescriptor(d, &type, &s.n, &s.c, &s.h, &s.w, &a, &b, &c, &e) == CUDNN_STATUS_SUCCESS,
       "a tensor descriptor cannot be read");
  need(type == CUDNN_DATA_FLOAT, "a tensor is not float");
  need(e == 1 && c == s.w && b == s.h * s.w && a == s.c * s.h * s.w, "a tensor is not dense NCHW");
  return s;
}
Shape shape_of(cudnnFilterDescriptor_t d) {
  cudnnDataType_t type;
  cudnnTensorFormat_t format;
  Shape s{};
  need(cudnnGetFilter4dDescriptor(d, &type, &format, &s.n, &s.c, &s.h, &s.w) == CUDNN_STATUS_SUCCESS,
       "a filter descriptor cannot be read");
  need(type == CUDNN_DATA_FLOAT && format == CUDNN_TENSOR_NCHW, "a filter is not float NCHW");
  return s;
}

using Values = std::vector<float>;

// All of a tensor in device memory. The stand-in says so where it is not wholly within one allocation.
Values read(const void* p, std::size_t n, const char* what) {
  cudaPointerAttributes a;
  need(cudaPointerGetAttributes(&a, p) == cudaSuccess && a.type == cudaMemoryTypeDevice,
       std::string(what) + " is no device memory");
  Values v(n);
  need(cudaMemcpy(v.data(), p, n * sizeof(float), cudaMemcpyDeviceToHost) == cudaSuccess,
       std::string(what) + " cannot be read");
  return v;
}
void write(void* p, const Values& v, const char* what) {
  cudaPointerAttributes a;
  need(cudaPointerGetAttributes(&a, p) == cudaSuccess && a.type == cudaMemoryTypeDevice,
       std::string(what) + " is no device memory");
  need(cudaMemcpy(p, v.data(), v.size() * sizeof(float), cudaMemcpyHostToDevice) == cudaSuccess,
       std::string(what) + " cannot be written");
}
// alpha is 1; beta 0 or 1.
void write_blended(void* p, Values v, const void* alpha, const void* beta, const char* what) {
  need(*static_cast<const float*>(alpha) == 1, "alpha is not 1");
  const float b = *static_cast<const float*>(beta);
  if (b != 0) {
    const Values old = read(p, v.size(), what);
    for (std::size_t i = 0; i < v.size(); ++i) v[i] += b * old[i];
  }
  write(p, v, what);
}
void rectify(void* p, std::size_t size) {
  Values v = read(p, size, "y");
  for (auto& each : v) each = each < 0 ? 0 : each;
  write(p, v, "y");
}
bool is_relu(cudnnActivationDescriptor_t d) {
  cudnnActivationMode_t mode;
  cudnnNanPropagation_t nan;
  double coefficient;
  need(cudnnGetActivationDescriptor(d, &mode, &nan, &coefficient) == CUDNN_STATUS_SUCCESS &&
           nan == CUDNN_PROPAGATE_NAN && (mode == CUDNN_ACTIVATION_IDENTITY || mode == CUDNN_ACTIVATION_RELU),
       "has another activation than the identity and ReLU");
  return mode == CUDNN_ACTIVATION_RELU;
}
void start() { need(cudaStreamSynchronize(used_stream) == cudaSuccess, "the stream cannot be waited for"); }
void use_workspace(void* p, std::size_t given, std::size_t wanted) {
  need(given >= wanted,
       "the workspace has " + std::to_string(given) + " bytes, " + std::to_string(wanted) + " are needed");
  if (wanted > 0) need(cudaMemset(p, 0xA5, wanted) == cudaSuccess, "the workspace is not there");
}

struct Conv {
  int pad_h, pad_w, stride_h, stride_w, dilation_h, dilation_w, groups;
};
Conv checked(cudnnConvolutionDescriptor_t d, cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t w,
             cudnnTensorDescriptor_t y) {
  Conv c{};
  cudnnConvolutionMode_t mode;
  cudnnDataType_t type;
  cudnnMathType_t math;
  need(cudnnGetConvolution2dDescriptor(d, &c.pad_h, &c.pad_w, &c.stride_h, &c.stride_w, &c.dilation_h, &c.dilation_w,
                                       &mode, &type) == CUDNN_STATUS_SUCCESS,
       "a convolution descriptor cannot be read");
  need(mode == CUDNN_CROSS_CORRELATION && type == CUDNN_DATA_FLOAT, "is no cross-correlation in float");
  need(cudnnGetConvolutionMathType(d, &math) == CUDNN_STATUS_SUCCESS && math == CUDNN_FMA_MATH,
       "does not multiply by FMA");
  need(cudnnGetConvolutionGroupCount(d, &c.groups) == CUDNN_STATUS_SUCCESS, "has no groups");
  Shape out{};
  need(cudnnGetConvolution2dForwardOutputDim(d, x, w, &out.n, &out.c, &out.h, &out.w) == CUDNN_STATUS_SUCCESS,
       "has an output that the real library refuses");
  need(out == shape_of(y), "has an output of another shape than its descriptors make");
  return c;
}

// f(x index, w index, y index) for every product of a convolution.
template <class F>
void over(const Conv& c, const Shape& x, const Shape& w, const Shape& y, F&& f) {
  const int per_in = x.c / c.groups, per_out = y.c / c.groups;
  for (int n = 0; n < y.n; ++n)
    for (int o = 0; o < y.c; ++o)
      for (int i = 0; i < y.h; ++i)
        for (int j = 0; j < y.w; ++j)
          for (int k = 0; k < per_in; ++k)
            for (int a = 0; a < w.h; ++a)
              for (int b = 0; b < w.w; ++b) {
                const int row = i * c.stride_h - c.pad_h + a * c.dilation_h,
                          column = j * c.stride_w - c.pad_w + b * c.dilation_w;
                if (row < 0 || row >= x.h || column < 0 || column >= x.w) continue;
                f(((static_cast<std::size_t>(n) * static_cast<std::size_t>(x.c) +
                    static_cast<std::size_t>(o / per_out * per_in + k)) *
                       static_cast<std::size_t>(x.h) +
                   static_cast<std::size_t>(row)) *
                          static_cast<std::size_t>(x.w) +
                      static_cast<std::size_t>(column),
                  ((static_cast<std::size_t>(o) * static_cast<std::size_t>(per_in) + static_cast<std::size_t>(k)) *
                       static_cast<std::size_t>(w.h) +
                   static_cast<std::size_t>(a)) *
                          static_cast<std::size_t>(w.w) +
                      static_cast<std::size_t>(b),
                  ((static_cast<std::size_t>(n) * static_cast<std::size_t>(y.c) + static_cast<std::size_t>(o)) *
                       static_cast<std::size_t>(y.h) +
                   static_cast<std::size_t>(i)) *
                          static_cast<std::size_t>(y.w) +
                      static_cast<std::size_t>(j));
              }
}

Values rounded(const std::vector<double>& v) { return {v.begin(), v.end()}; }

// What an algorithm of this pass needs: some odd number of bytes, so that nobody guesses it.
std::size_t workspace(int pass, cudnnTensorDescriptor_t y) {
  return 1000 + 77 * static_cast<std::size_t>(pass) + shape_of(y).size() % 501;
}

template <class Perf, class Algo>
cudnnStatus_t offer(Perf* results, int requested, int* returned, std::initializer_list<std::pair<Algo, bool>> list,
                    std::size_t bytes) {
  *returned = 0;
  for (const auto& [algo, sure] : list) {
    if (*returned == requested) break;
    Perf p{};
    p.algo = algo;
    p.status = CUDNN_STATUS_SUCCESS;
    p.memory = bytes;
    p.determinism = sure ? CUDNN_DETERMINISTIC : CUDNN_NON_DETERMINISTIC;
    p.mathType = CUDNN_FMA_MATH;
    results[(*returned)++] = p;
  }
  return CUDNN_STATUS_SUCCESS;
}

// The real library's function behind one that is counted here.
template <class F>
F real_one(F, const char* name) {
  return reinterpret_cast<F>(dlsym(RTLD_NEXT, name));
}

}  // namespace

#define VITRINE_API extern "C" __attribute__((visibility("default")))

#define VITRINE_COUNTED(kind)                                                                              \
  VITRINE_API cudnnStatus_t cudnnCreate##kind##Descriptor(cudnn##kind##Descriptor_t* d) {                  \
    static const auto real = real_one(&cudnnCreate##kind##Descriptor, "cudnnCreate" #kind "Descriptor");   \
    ++descriptors;                                                                                         \
    return real(d);                                                                                        \
  }                                                                                                        \
  VITRINE_API cudnnStatus_t cudnnDestroy##kind##Descriptor(cudnn##kind##Descriptor_t d) {                  \
    static const auto real = real_one(&cudnnDestroy##kind##Descriptor, "cudnnDestroy" #kind "Descriptor"); \
    --descriptors;                                                                                         \
    return real(d);                                                                                        \
  }
VITRINE_COUNTED(Tensor)
VITRINE_COUNTED(Filter)
VITRINE_COUNTED(Convolution)
VITRINE_COUNTED(Activation)
VITRINE_COUNTED(Pooling)

VITRINE_API cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  *handle = reinterpret_cast<cudnnHandle_t>(&calls);
  return CUDNN_STATUS_SUCCESS;
}
VITRINE_API cudnnStatus_t cudnnDestroy(cudnnHandle_t) { return CUDNN_STATUS_SUCCESS; }
VITRINE_API cudnnStatus_t cudnnSetStream(cudnnHandle_t, cudaStream_t stream) {
  used_stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

VITRINE_API cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(
    cudnnHandle_t, const cudnnTensorDescriptor_t, const cudnnFilterDescriptor_t w, const cudnnConvolutionDescriptor_t,
    const cudnnTensorDescriptor_t y, const int requested, int* returned, cudnnConvolutionFwdAlgoPerf_t* results) {
  // One by one, so that both ways with a bias are taken.
  const bool precomputed = shape_of(w).h < 5;
  return offer<cudnnConvolutionFwdAlgoPerf_t, cudnnConvolutionFwdAlgo_t>(
      results, requested, returned,
      {{precomputed ? CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM : CUDNN_CONVOLUTION_FWD_ALGO_GEMM, true}},
      workspace(1, y));
}
VITRINE_API cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(cudnnHandle_t, const cudnnTensorDescriptor_t,
                                                                  const cudnnFilterDescriptor_t,
                                                                  const cudnnConvolutionDescriptor_t,
                                                                  const cudnnTensorDescriptor_t y,
                                                                  cudnnConvolutionFwdAlgo_t, std::size_t* bytes) {
  *bytes = workspace(1, y);
  return CUDNN_STATUS_SUCCESS;
}
VITRINE_API cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(
    cudnnHandle_t, const cudnnFilterDescriptor_t, const cudnnTensorDescriptor_t y, const cudnnConvolutionDescriptor_t,
    const cudnnTensorDescriptor_t, const int requested, int* returned, cudnnConvolutionBwdDataAlgoPerf_t* results) {
  return offer<cudnnConvolutionBwdDataAlgoPerf_t, cudnnConvolutionBwdDataAlgo_t>(
      results, requested, returned,
      {{CUDNN_CONVOLUTION_BWD_DATA_ALGO_0, false}, {CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, true}}, workspace(2, y));
}
VITRINE_API cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm_v7(
    cudnnHandle_t, const cudnnTensorDescriptor_t, const cudnnTensorDescriptor_t y, const cudnnConvolutionDescriptor_t,
    const cudnnFilterDescriptor_t, const int requested, int* returned, cudnnConvolutionBwdFilterAlgoPerf_t* results) {
  return offer<cudnnConvolutionBwdFilterAlgoPerf_t, cudnnConvolutionBwdFilterAlgo_t>(
      results, requested, returned,
      {{CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0, false}, {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1, true}}, workspace(3, y));
}

namespace {

Values convolved(cudnnTensorDescriptor_t xd, const void* x, cudnnFilterDescriptor_t wd, const void* w,
                 cudnnConvolutionDescriptor_t cd, cudnnTensorDescriptor_t yd) {
  const Conv c = checked(cd, xd, wd, yd);
  const Shape xs = shape_of(xd), ws = shape_of(wd), ys = shape_of(yd);
  const Values xv = read(x, xs.size(), "x"), wv = read(w, ws.size(), "w");
  std::vector<double> sum(ys.size());
  over(c, xs, ws, ys, [&](std::size_t i, std::size_t j, std::size_t k) {
    sum[k] += static_cast<double>(xv[i]) * static_cast<double>(wv[j]);
  });
  return rounded(sum);
}
void add_bias(Values& y, const Shape& ys, const Values& b) {
  for (std::size_t i = 0; i < y.size(); ++i)
    y[i] += b[i / static_cast<std::size_t>(ys.h * ys.w) % static_cast<std::size_t>(ys.c)];
}

}  // namespace

VITRINE_API cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t, const void* alpha, const cudnnTensorDescriptor_t xd,
                                                  const void* x, const cudnnFilterDescriptor_t wd, const void* w,
                                                  const cudnnConvolutionDescriptor_t cd, cudnnConvolutionFwdAlgo_t,
                                                  void* space, std::size_t bytes, const void* beta,
                                                  const cudnnTensorDescriptor_t yd, void* y) {
  return guarded("convolution forward", [&] {
    start();
    use_workspace(space, bytes, workspace(1, yd));
    write_blended(y, convolved(xd, x, wd, w, cd, yd), alpha, beta, "y");
  });
}
VITRINE_API cudnnStatus_t cudnnConvolutionBiasActivationForward(
    cudnnHandle_t, const void* alpha1, const cudnnTensorDescriptor_t xd, const void* x,
    const cudnnFilterDescriptor_t wd, const void* w, const cudnnConvolutionDescriptor_t cd,
    cudnnConvolutionFwdAlgo_t algo, void* space, std::size_t bytes, const void* alpha2, const cudnnTensorDescriptor_t,
    const void* z, const cudnnTensorDescriptor_t bd, const void* b, const cudnnActivationDescriptor_t ad,
    const cudnnTensorDescriptor_t yd, void* y) {
  return guarded("convolution with bias", [&] {
    start();
    use_workspace(space, bytes, workspace(1, yd));
    const bool relu = is_relu(ad);
    need(z == y, "adds another tensor than its own");
    need(relu || algo == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM,
         "has the identity with another algorithm than IMPLICIT_PRECOMP_GEMM");
    const Shape ys = shape_of(yd), bs = shape_of(bd);
    need(bs == Shape{1, ys.c, 1, 1}, "has a bias of another shape");
    Values v = convolved(xd, x, wd, w, cd, yd);
    add_bias(v, ys, read(b, bs.size(), "bias"));
    write_blended(y, v, alpha1, alpha2, "y");
    if (relu) rectify(y, ys.size());
  });
}
VITRINE_API cudnnStatus_t cudnnActivationForward(cudnnHandle_t, cudnnActivationDescriptor_t ad, const void* alpha,
                                                 const cudnnTensorDescriptor_t xd, const void* x, const void* beta,
                                                 const cudnnTensorDescriptor_t yd, void* y) {
  return guarded("activation", [&] {
    start();
    need(is_relu(ad) && x == y && shape_of(xd) == shape_of(yd), "is no ReLU in place");
    need(*static_cast<const float*>(alpha) == 1 && *static_cast<const float*>(beta) == 0, "is blended");
    rectify(y, shape_of(yd).size());
  });
}
VITRINE_API cudnnStatus_t cudnnAddTensor(cudnnHandle_t, const void* alpha, const cudnnTensorDescriptor_t ad,
                                         const void* a, const void* beta, const cudnnTensorDescriptor_t cd, void* c) {
  return guarded("add tensor", [&] {
    start();
    const Shape as = shape_of(ad), cs = shape_of(cd);
    need(as == Shape{1, cs.c, 1, 1} && *static_cast<const float*>(beta) == 1, "is no added bias");
    Values v(cs.size());
    add_bias(v, cs, read(a, as.size(), "bias"));
    write_blended(c, v, alpha, beta, "y");
  });
}
VITRINE_API cudnnStatus_t cudnnConvolutionBackwardData(
    cudnnHandle_t, const void* alpha, const cudnnFilterDescriptor_t wd, const void* w, const cudnnTensorDescriptor_t yd,
    const void* y, const cudnnConvolutionDescriptor_t cd, cudnnConvolutionBwdDataAlgo_t algo, void* space,
    std::size_t bytes, const void* beta, const cudnnTensorDescriptor_t xd, void* x) {
  return guarded("convolution backward data", [&] {
    start();
    use_workspace(space, bytes, workspace(2, yd));
    need(algo == CUDNN_CONVOLUTION_BWD_DATA_ALGO_1 ||
             std::strcmp(std::getenv("VITRINE_CUDNN") ? std::getenv("VITRINE_CUDNN") : "", "fast") == 0,
         "goes by an algorithm that is not deterministic");
    const Conv c = checked(cd, xd, wd, yd);
    const Shape xs = shape_of(xd), ws = shape_of(wd), ys = shape_of(yd);
    const Values yv = read(y, ys.size(), "dy"), wv = read(w, ws.size(), "w");
    std::vector<double> sum(xs.size());
    over(c, xs, ws, ys, [&](std::size_t i, std::size_t j, std::size_t k) {
      sum[i] += static_cast<double>(yv[k]) * static_cast<double>(wv[j]);
    });
    write_blended(x, rounded(sum), alpha, beta, "dx");
  });
}
VITRINE_API cudnnStatus_t cudnnConvolutionBackwardFilter(
    cudnnHandle_t, const void* alpha, const cudnnTensorDescriptor_t xd, const void* x, const cudnnTensorDescriptor_t yd,
    const void* y, const cudnnConvolutionDescriptor_t cd, cudnnConvolutionBwdFilterAlgo_t algo, void* space,
    std::size_t bytes, const void* beta, const cudnnFilterDescriptor_t wd, void* w) {
  return guarded("convolution backward filter", [&] {
    start();
    use_workspace(space, bytes, workspace(3, yd));
    need(algo == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1 ||
             std::strcmp(std::getenv("VITRINE_CUDNN") ? std::getenv("VITRINE_CUDNN") : "", "fast") == 0,
         "goes by an algorithm that is not deterministic");
    const Conv c = checked(cd, xd, wd, yd);
    const Shape xs = shape_of(xd), ws = shape_of(wd), ys = shape_of(yd);
    const Values yv = read(y, ys.size(), "dy"), xv = read(x, xs.size(), "x");
    std::vector<double> sum(ws.size());
    over(c, xs, ws, ys, [&](std::size_t i, std::size_t j, std::size_t k) {
      sum[j] += static_cast<double>(yv[k]) * static_cast<double>(xv[i]);
    });
    write_blended(w, rounded(sum), alpha, beta, "dw");
  });
}

namespace {

// Of channel c: every index into x.
template <class F>
void over_channel(const Shape& s, std::size_t c, F&& f) {
  const auto pixels = static_cast<std::size_t>(s.h * s.w), channels = static_cast<std::size_t>(s.c);
  for (std::size_t n = 0; n < static_cast<std::size_t>(s.n); ++n)
    for (std::size_t p = 0; p < pixels; ++p) f((n * channels + c) * pixels + p);
}

}  // namespace

VITRINE_API cudnnStatus_t cudnnBatchNormalizationForwardTraining(
    cudnnHandle_t, cudnnBatchNormMode_t mode, const void* alpha, const void* beta, const cudnnTensorDescriptor_t xd,
    const void* x, const cudnnTensorDescriptor_t yd, void* y, const cudnnTensorDescriptor_t pd, const void* scale,
    const void* bias, double factor, void* running_mean, void* running_var, double eps, void* mean, void* inv_std) {
  return guarded("batch norm forward", [&] {
    start();
    const Shape s = shape_of(xd), each = shape_of(pd);
    need(mode == CUDNN_BATCHNORM_SPATIAL && s == shape_of(yd) && each == Shape{1, s.c, 1, 1},
         "has descriptors that do not fit");
    const auto channels = static_cast<std::size_t>(s.c);
    const Values xv = read(x, s.size(), "x"), g = read(scale, channels, "scale"), b = read(bias, channels, "bias");
    Values yv(s.size()), rm = read(running_mean, channels, "running mean"),
                         rv = read(running_var, channels, "running variance"), m(channels), inv(channels);
    const double count = static_cast<double>(s.n) * s.h * s.w;
    need(count > 1, "has one element a channel");
    for (std::size_t c = 0; c < channels; ++c) {
      double sum = 0, square = 0;
      over_channel(s, c, [&](std::size_t i) { sum += static_cast<double>(xv[i]); });
      const double mu = sum / count;
      over_channel(s, c, [&](std::size_t i) {
        square += (static_cast<double>(xv[i]) - mu) * (static_cast<double>(xv[i]) - mu);
      });
      const double variance = square / count, r = 1 / std::sqrt(variance + eps);
      over_channel(s, c, [&](std::size_t i) {
        yv[i] = static_cast<float>(static_cast<double>(g[c]) * (static_cast<double>(xv[i]) - mu) * r +
                                   static_cast<double>(b[c]));
      });
      m[c] = static_cast<float>(mu), inv[c] = static_cast<float>(r);
      rm[c] = static_cast<float>((1 - factor) * static_cast<double>(rm[c]) + factor * mu);
      rv[c] = static_cast<float>((1 - factor) * static_cast<double>(rv[c]) + factor * square / (count - 1));
    }
    write_blended(y, yv, alpha, beta, "y");
    write(running_mean, rm, "running mean"), write(running_var, rv, "running variance"), write(mean, m, "mean"),
        write(inv_std, inv, "1/deviation");
  });
}
VITRINE_API cudnnStatus_t cudnnBatchNormalizationBackward(
    cudnnHandle_t, cudnnBatchNormMode_t mode, const void* alpha, const void* beta, const void* alpha_p,
    const void* beta_p, const cudnnTensorDescriptor_t xd, const void* x, const cudnnTensorDescriptor_t yd,
    const void* dy, const cudnnTensorDescriptor_t dxd, void* dx, const cudnnTensorDescriptor_t pd, const void* scale,
    void* dscale, void* dbias, double, const void* mean, const void* inv_std) {
  return guarded("batch norm backward", [&] {
    start();
    const Shape s = shape_of(xd);
    need(mode == CUDNN_BATCHNORM_SPATIAL && s == shape_of(yd) && s == shape_of(dxd) &&
             shape_of(pd) == Shape{1, s.c, 1, 1},
         "has descriptors that do not fit");
    const auto channels = static_cast<std::size_t>(s.c);
    const Values xv = read(x, s.size(), "x"), dyv = read(dy, s.size(), "dy"), g = read(scale, channels, "scale"),
                 m = read(mean, channels, "mean"), inv = read(inv_std, channels, "1/deviation");
    Values dxv(s.size()), dg(channels), db(channels);
    const double count = static_cast<double>(s.n) * s.h * s.w;
    for (std::size_t c = 0; c < channels; ++c) {
      double sum = 0, dot = 0;
      const auto normal = [&](std::size_t i) {
        return (static_cast<double>(xv[i]) - static_cast<double>(m[c])) * static_cast<double>(inv[c]);
      };
      over_channel(s, c, [&](std::size_t i) {
        sum += static_cast<double>(dyv[i]), dot += static_cast<double>(dyv[i]) * normal(i);
      });
      over_channel(s, c, [&](std::size_t i) {
        dxv[i] = static_cast<float>(static_cast<double>(g[c]) * static_cast<double>(inv[c]) *
                                    (static_cast<double>(dyv[i]) - sum / count - normal(i) * dot / count));
      });
      dg[c] = static_cast<float>(dot), db[c] = static_cast<float>(sum);
    }
    write_blended(dx, dxv, alpha, beta, "dx");
    write_blended(dscale, dg, alpha_p, beta_p, "dscale"), write_blended(dbias, db, alpha_p, beta_p, "dbias");
  });
}

namespace {

// f(x index, y index, 1/count) for every place of every window.
template <class F>
void over_windows(cudnnPoolingDescriptor_t pd, const Shape& x, const Shape& y, cudnnPoolingMode_t& mode, F&& f) {
  cudnnNanPropagation_t nan;
  int kh, kw, ph, pw, sh, sw;
  need(cudnnGetPooling2dDescriptor(pd, &mode, &nan, &kh, &kw, &ph, &pw, &sh, &sw) == CUDNN_STATUS_SUCCESS,
       "a pooling descriptor cannot be read");
  for (int plane = 0; plane < y.n * y.c; ++plane)
    for (int i = 0; i < y.h; ++i)
      for (int j = 0; j < y.w; ++j) {
        const int top = i * sh - ph, left = j * sw - pw;
        int inside = 0;
        const auto each = [&](auto&& g) {
          for (int a = std::max(0, top); a < std::min(x.h, top + kh); ++a)
            for (int b = std::max(0, left); b < std::min(x.w, left + kw); ++b)
              g((static_cast<std::size_t>(plane) * static_cast<std::size_t>(x.h) + static_cast<std::size_t>(a)) *
                    static_cast<std::size_t>(x.w) +
                static_cast<std::size_t>(b));
        };
        each([&](std::size_t) { ++inside; });
        const double share = 1.0 / (mode == CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING ? kh * kw : inside);
        each([&](std::size_t at) {
          f(at,
            (static_cast<std::size_t>(plane) * static_cast<std::size_t>(y.h) + static_cast<std::size_t>(i)) *
                    static_cast<std::size_t>(y.w) +
                static_cast<std::size_t>(j),
            share);
        });
      }
}
void check_pool(cudnnPoolingDescriptor_t pd, cudnnTensorDescriptor_t xd, cudnnTensorDescriptor_t yd) {
  Shape out{};
  need(cudnnGetPooling2dForwardOutputDim(pd, xd, &out.n, &out.c, &out.h, &out.w) == CUDNN_STATUS_SUCCESS,
       "has an output that the real library refuses");
  need(out == shape_of(yd), "has an output of another shape than its descriptors make");
}

}  // namespace

VITRINE_API cudnnStatus_t cudnnPoolingForward(cudnnHandle_t, const cudnnPoolingDescriptor_t pd, const void* alpha,
                                              const cudnnTensorDescriptor_t xd, const void* x, const void* beta,
                                              const cudnnTensorDescriptor_t yd, void* y) {
  return guarded("pooling forward", [&] {
    start();
    check_pool(pd, xd, yd);
    const Shape xs = shape_of(xd), ys = shape_of(yd);
    const Values xv = read(x, xs.size(), "x");
    cudnnPoolingMode_t mode;
    std::vector<double> sum(ys.size()), top(ys.size(), -INFINITY);
    over_windows(pd, xs, ys, mode, [&](std::size_t i, std::size_t k, double share) {
      sum[k] += share * static_cast<double>(xv[i]), top[k] = std::fmax(top[k], static_cast<double>(xv[i]));
    });
    write_blended(y, rounded(mode == CUDNN_POOLING_MAX || mode == CUDNN_POOLING_MAX_DETERMINISTIC ? top : sum), alpha,
                  beta, "y");
  });
}
VITRINE_API cudnnStatus_t cudnnPoolingBackward(cudnnHandle_t, const cudnnPoolingDescriptor_t pd, const void* alpha,
                                               const cudnnTensorDescriptor_t yd, const void*,
                                               const cudnnTensorDescriptor_t dyd, const void* dy,
                                               const cudnnTensorDescriptor_t xd, const void*, const void* beta,
                                               const cudnnTensorDescriptor_t dxd, void* dx) {
  return guarded("pooling backward", [&] {
    start();
    check_pool(pd, xd, yd);
    const Shape xs = shape_of(xd), ys = shape_of(yd);
    need(xs == shape_of(dxd) && ys == shape_of(dyd), "has descriptors that do not fit");
    const Values dyv = read(dy, ys.size(), "dy");
    cudnnPoolingMode_t mode;
    std::vector<double> sum(xs.size());
    over_windows(pd, xs, ys, mode,
                 [&](std::size_t i, std::size_t k, double share) { sum[i] += share * static_cast<double>(dyv[k]); });
    need(mode == CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING || mode == CUDNN_POOLING_AVERAGE_COUNT_EXCLUDE_PADDING,
         "is no average");
    write_blended(dx, rounded(sum), alpha, beta, "dx");
  });
}
