#include "staged.h"

#include <cstdio>
#include <cstdlib>
#include <vector>

namespace vitrine::kernels::selfcheck {
namespace {

const Device* device = nullptr;

/// The operands of one call on the device.
class Operands {
 public:
  Operands() = default;
  Operands(const Operands&) = delete;
  Operands& operator=(const Operands&) = delete;
  ~Operands() {
    for (const Held& h : held_)
      if (h.output) device->download(h.host, h.data, h.bytes);
    for (const Held& h : held_) device->release(h.block);
    device->synchronise();
    if (const char* why = device->failure()) {
      std::fflush(stdout);
      std::fprintf(stderr, "the device failed: %s\n", why);
      std::_Exit(1);
    }
  }

  template <class T>
  const T* in(const T* host, std::int64_t n) {
    return static_cast<T*>(place(const_cast<T*>(host), n * std::int64_t{sizeof(T)}, sizeof(T), false));
  }
  template <class T>
  T* out(T* host, std::int64_t n) {
    return static_cast<T*>(place(host, n * std::int64_t{sizeof(T)}, sizeof(T), true));
  }
  std::byte* scratch(std::size_t bytes) {
    if (bytes == 0) return nullptr;
    held_.push_back({nullptr, nullptr, device->allocate(bytes), bytes, false});
    return static_cast<std::byte*>(held_.back().block);
  }

 private:
  struct Held {
    std::byte* host;
    std::byte* data;
    void* block;
    std::size_t bytes;
    bool output;
  };

  void* place(void* pointer, std::int64_t size, std::size_t element, bool output) {
    if (!pointer) return nullptr;
    auto* const host = static_cast<std::byte*>(pointer);
    const std::size_t bytes = size > 0 ? static_cast<std::size_t>(size) : 0;
    // An operand that two parameters name is one on the device, too.
    for (Held& h : held_) {
      if (host < h.host || host + bytes > h.host + h.bytes) continue;
      h.output = h.output || output;
      return h.data + (host - h.host);
    }
    static unsigned calls = 0;
    const std::size_t offset = calls++ % 2 ? element : 0;
    void* const block = device->allocate(bytes + offset);
    std::byte* const data = static_cast<std::byte*>(block) + offset;
    device->upload(data, host, bytes);
    held_.push_back({host, data, block, bytes, output});
    return data;
  }

  std::vector<Held> held_;
};

template <class Args>
void run_on_device(const Tiled<Args>& kernel, const Args& a, Operands& o) {
  const Work work = kernel.plan(a);
  std::byte *const shared = o.scratch(work.shared_bytes), *const scratch = o.scratch(work.scratch_bytes);
  for (std::int64_t part = 0; part < work.parts && work.shared_bytes > 0; ++part) kernel.pack(a, shared, part);
  for (std::int64_t i = 0; i < work.tiles; ++i) kernel.tile(a, shared, scratch, i);
}

template <class Args>
Work plan(const Args&) noexcept {
  return {1, 0, 0};
}
template <class Args>
void pack(const Args&, std::byte*, std::int64_t) noexcept {}

void gemm(const GemmArgs<float>& g, const std::byte*, std::byte*, std::int64_t) noexcept {
  Operands o;
  const auto extent = [](std::int64_t rows, std::int64_t columns, std::int64_t ld) {
    return rows > 0 && columns > 0 ? (rows - 1) * ld + columns : 0;
  };
  GemmArgs<float> a = g;
  a.a = o.in(g.a, g.a_transposed ? extent(g.k, g.m, g.lda) : extent(g.m, g.k, g.lda));
  a.b = o.in(g.b, g.b_transposed ? extent(g.n, g.k, g.ldb) : extent(g.k, g.n, g.ldb));
  a.bias = o.in(g.bias, g.n);
  a.c = o.out(g.c, extent(g.m, g.n, g.ldc));
  run_on_device(device->kernels->gemm, a, o);
}

template <auto Slot>
void conv(const ConvArgs<float>& c, const std::byte*, std::byte*, std::int64_t) noexcept {
  Operands o;
  const ConvShape& s = c.s;
  const std::int64_t x = std::int64_t{s.n} * s.c * s.h * s.w, y = std::int64_t{s.n} * s.oc * s.oh * s.ow,
                     w = std::int64_t{s.oc} * (s.c / s.groups) * s.kh * s.kw;
  ConvArgs<float> a = c;
  a.x = o.in(c.x, x), a.w = o.in(c.w, w), a.bias = o.in(c.bias, s.oc), a.y = o.in(c.y, y);
  a.x_out = o.out(c.x_out, x), a.w_out = o.out(c.w_out, w), a.y_out = o.out(c.y_out, y);
  run_on_device(device->kernels->*Slot, a, o);
}

std::int64_t pool_in(const PoolShape& s) { return s.planes * s.h * s.w; }
std::int64_t pool_out(const PoolShape& s) { return s.planes * s.oh * s.ow; }

void max_pool_forward(const PoolShape& s, const float* x, float* y, Switch* switches) noexcept {
  Operands o;
  device->kernels->max_pool_forward(s, o.in(x, pool_in(s)), o.out(y, pool_out(s)), o.out(switches, pool_out(s)));
}
void max_pool_ties(const PoolShape& s, std::int32_t channels, const float* x, const float* y, float* largest,
                   Switch* switches) noexcept {
  Operands o;
  device->kernels->max_pool_ties(s, channels, o.in(x, pool_in(s)), o.in(y, pool_out(s)),
                                 o.out(largest, s.planes / channels), o.out(switches, pool_out(s)));
}
void max_pool_gather(const PoolShape& s, const float* x, const Switch* switches, float* y) noexcept {
  Operands o;
  device->kernels->max_pool_gather(s, o.in(x, pool_in(s)), o.in(switches, pool_out(s)), o.out(y, pool_out(s)));
}
void max_pool_scatter(const PoolShape& s, const float* y, const Switch* switches, float* x, bool add) noexcept {
  Operands o;
  device->kernels->max_pool_scatter(s, o.in(y, pool_out(s)), o.in(switches, pool_out(s)), o.out(x, pool_in(s)), add);
}
void avg_pool_forward(const PoolShape& s, const float* x, float* y) noexcept {
  Operands o;
  device->kernels->avg_pool_forward(s, o.in(x, pool_in(s)), o.out(y, pool_out(s)));
}
void avg_pool_backward(const PoolShape& s, const float* y, float* x, bool add) noexcept {
  Operands o;
  device->kernels->avg_pool_backward(s, o.in(y, pool_out(s)), o.out(x, pool_in(s)), add);
}

void map_forward(Map map, MapParameters p, const float* x, float* y, std::int64_t n) noexcept {
  Operands o;
  device->kernels->map_forward(map, p, o.in(x, n), o.out(y, n), n);
}
void map_backward(Map map, MapParameters p, const float* x, const float* y, const float* s, float* d, std::int64_t n,
                  bool add) noexcept {
  Operands o;
  device->kernels->map_backward(map, p, o.in(x, n), o.in(y, n), o.in(s, n), o.out(d, n), n, add);
}
void rectify_backward(Rectify rule, const float* x, const float* s, float* d, std::int64_t n, bool add) noexcept {
  Operands o;
  device->kernels->rectify_backward(rule, o.in(x, n), o.in(s, n), o.out(d, n), n, add);
}
void fill(float value, float* y, std::int64_t n) noexcept {
  Operands o;
  device->kernels->fill(value, o.out(y, n), n);
}
void scale(float a, const float* x, float* y, std::int64_t n, bool add) noexcept {
  Operands o;
  device->kernels->scale(a, o.in(x, n), o.out(y, n), n, add);
}
void multiply(const float* x, const float* y, float* z, std::int64_t n, bool add) noexcept {
  Operands o;
  device->kernels->multiply(o.in(x, n), o.in(y, n), o.out(z, n), n, add);
}
void combine(float a, const float* x, float b, const float* y, float* z, std::int64_t n) noexcept {
  Operands o;
  device->kernels->combine(a, o.in(x, n), b, o.in(y, n), o.out(z, n), n);
}
void substitute(Substitute s, const float* x, float* y, std::int64_t n, bool add) noexcept {
  Operands o;
  device->kernels->substitute(s, o.in(x, n), o.out(y, n), n, add);
}
void copy(const CopyArgs<float>& c) noexcept {
  Operands o;
  // Strides below 0 reach back from the first element.
  std::int64_t from = 1, to = 1, from_before = 0, to_before = 0;
  for (int d = 0; d < 4; ++d) {
    const std::int64_t steps = c.size[d] - 1, in = steps * c.src_stride[d], out = steps * c.dst_stride[d];
    (in < 0 ? from_before : from) += in < 0 ? -in : in;
    (out < 0 ? to_before : to) += out < 0 ? -out : out;
  }
  CopyArgs<float> a = c;
  a.src = o.in(c.src - from_before, from_before + from) + from_before;
  a.dst = o.out(c.dst - to_before, to_before + to) + to_before;
  device->kernels->copy(a);
}
void dropout(float p, std::uint64_t key, std::uint64_t first, const float* x, float* y, std::int64_t n,
             bool add) noexcept {
  Operands o;
  device->kernels->dropout(p, key, first, o.in(x, n), o.out(y, n), n, add);
}

Stats stats(const float* x, std::int64_t n) noexcept {
  Operands o;
  return device->kernels->stats(o.in(x, n), n);
}
double dot(const float* x, const float* y, std::int64_t n) noexcept {
  Operands o;
  return device->kernels->dot(o.in(x, n), o.in(y, n), n);
}
void channel_sum(const float* x, std::int64_t images, std::int64_t channels, std::int64_t pixels, float* y,
                 bool add) noexcept {
  Operands o;
  device->kernels->channel_sum(o.in(x, images * channels * pixels), images, channels, pixels, o.out(y, channels), add);
}

void channel_affine(const ChannelAffineArgs<float>& c) noexcept {
  Operands o;
  const std::int64_t n = (c.first + c.planes) * c.pixels;
  ChannelAffineArgs<float> a = c;
  a.x = o.in(c.x, n), a.scale = o.in(c.scale, c.channels), a.shift = o.in(c.shift, c.channels), a.y = o.out(c.y, n);
  device->kernels->channel_affine(a);
}
void norm_coefficients(const float* gamma, const float* beta, const float* mean, const float* var, float eps,
                       Substitute w, Substitute b, float* scale, float* shift, std::int64_t n) noexcept {
  Operands o;
  device->kernels->norm_coefficients(o.in(gamma, n), o.in(beta, n), o.in(mean, n), o.in(var, n), eps, w, b,
                                     o.out(scale, n), o.out(shift, n), n);
}

BatchNormArgs<float> placed(const BatchNormArgs<float>& b, Operands& o) {
  const std::int64_t n = b.images * b.channels * b.pixels, c = b.channels;
  BatchNormArgs<float> a = b;
  a.x = o.in(b.x, n), a.gamma = o.in(b.gamma, c), a.beta = o.in(b.beta, c), a.mean = o.out(b.mean, c),
  a.inv_std = o.out(b.inv_std, c);
  a.running_mean = o.out(b.running_mean, c), a.running_var = o.out(b.running_var, c), a.y = o.out(b.y, n),
  a.dy = o.in(b.dy, n), a.residual = o.in(b.residual, n);
  a.dx = o.out(b.dx, n), a.dgamma = o.out(b.dgamma, c), a.dbeta = o.out(b.dbeta, c);
  return a;
}
void batch_norm_forward(const BatchNormArgs<float>& b) noexcept {
  Operands o;
  device->kernels->batch_norm_forward(placed(b, o));
}
void batch_norm_backward(const BatchNormArgs<float>& b) noexcept {
  Operands o;
  device->kernels->batch_norm_backward(placed(b, o));
}

LrnArgs<float> placed(const LrnArgs<float>& l, Operands& o) {
  const std::int64_t n = l.images * l.channels * l.pixels;
  LrnArgs<float> a = l;
  a.x = o.in(l.x, n), a.x0 = o.in(l.x0, n), a.y = o.out(l.y, n), a.s = o.in(l.s, n), a.d = o.out(l.d, n),
  a.scratch = o.out(l.scratch, l.channels);
  return a;
}
void lrn_forward(const LrnArgs<float>& l) noexcept {
  Operands o;
  device->kernels->lrn_forward(placed(l, o));
}
void lrn_backward(const LrnArgs<float>& l) noexcept {
  Operands o;
  device->kernels->lrn_backward(placed(l, o));
}

void template_gate(const TemplateArgs<float>& t) noexcept {
  Operands o;
  const std::int64_t n = t.last * t.h * t.w;
  TemplateArgs<float> a = t;
  a.x = o.in(t.x, n), a.slope = o.in(t.slope, t.channels), a.s = o.in(t.s, n), a.y = o.out(t.y, n);
  device->kernels->template_gate(a);
}
void peak_gate(const PeakArgs<float>& p) noexcept {
  Operands o;
  const std::int64_t n = p.last * p.h * p.w;
  PeakArgs<float> a = p;
  a.x = o.in(p.x, n), a.s = o.in(p.s, n), a.y = o.out(p.y, n);
  device->kernels->peak_gate(a);
}
void filter_state(const FilterStateArgs<float>& f) noexcept {
  Operands o;
  FilterStateArgs<float> a = f;
  a.x = o.in(f.x, f.images * f.channels * f.h * f.w), a.statistics = o.out(f.statistics, f.classes * f.channels);
  a.category = o.out(f.category, f.channels), a.slope = o.out(f.slope, f.channels);
  device->kernels->filter_state(a);
}
void filter_loss(const FilterLossArgs<float>& f, const std::byte*, std::byte*, std::int64_t) noexcept {
  Operands o;
  const std::int64_t n = f.images * f.channels * f.h * f.w;
  FilterLossArgs<float> a = f;
  a.x = o.in(f.x, n), a.slope = o.in(f.slope, f.channels), a.category = o.in(f.category, f.channels);
  a.loss = o.out(f.loss, f.channels), a.gradient = o.out(f.gradient, n);
  run_on_device(device->kernels->filter_loss, a, o);
}

void resize_forward(const ResizeShape& s, const float* x, float* y) noexcept {
  Operands o;
  device->kernels->resize_forward(s, o.in(x, s.planes * s.h * s.w), o.out(y, s.planes * s.oh * s.ow));
}
void resize_backward(const ResizeShape& s, const float* y, float* x, bool add) noexcept {
  Operands o;
  device->kernels->resize_backward(s, o.in(y, s.planes * s.oh * s.ow), o.out(x, s.planes * s.h * s.w), add);
}

void softmax_forward(const float* x, std::int64_t n, std::int64_t k, float* y) noexcept {
  Operands o;
  device->kernels->softmax_forward(o.in(x, n * k), n, k, o.out(y, n * k));
}
void softmax_backward(const float* y, const float* s, std::int64_t n, std::int64_t k, float* d, bool add) noexcept {
  Operands o;
  device->kernels->softmax_backward(o.in(y, n * k), o.in(s, n * k), n, k, o.out(d, n * k), add);
}
void log_softmax_forward(const float* x, std::int64_t n, std::int64_t k, float* y) noexcept {
  Operands o;
  device->kernels->log_softmax_forward(o.in(x, n * k), n, k, o.out(y, n * k));
}
void log_softmax_backward(const float* y, const float* s, std::int64_t n, std::int64_t k, float* d, bool add) noexcept {
  Operands o;
  device->kernels->log_softmax_backward(o.in(y, n * k), o.in(s, n * k), n, k, o.out(d, n * k), add);
}
void cross_entropy(const float* x, const float* target, std::int64_t n, std::int64_t k, float scale, double* loss,
                   float* d) noexcept {
  Operands o;
  device->kernels->cross_entropy(o.in(x, n * k), o.in(target, n * k), n, k, scale, loss, o.out(d, n * k));
}

void sgd(const SgdArgs<float>& s) noexcept {
  Operands o;
  SgdArgs<float> a = s;
  a.value = o.out(s.value, s.n), a.grad = o.in(s.grad, s.n), a.momentum_buffer = o.out(s.momentum_buffer, s.n);
  device->kernels->sgd(a);
}
void adam(const AdamArgs<float>& s) noexcept {
  Operands o;
  AdamArgs<float> a = s;
  a.value = o.out(s.value, s.n), a.grad = o.in(s.grad, s.n), a.m = o.out(s.m, s.n), a.v = o.out(s.v, s.n);
  device->kernels->adam(a);
}

bool no_relevance(Sign sign, const float* r, const float* out, std::int64_t n) noexcept {
  Operands o;
  return device->kernels->no_relevance(sign, o.in(r, n), o.in(out, n), n);
}
void relevance_quotient(Stabilise st, Sign sign, const float* r, const float* z, const float* out, float* s,
                        std::int64_t n) noexcept {
  Operands o;
  device->kernels->relevance_quotient(st, sign, o.in(r, n), o.in(z, n), o.in(out, n), o.out(s, n), n);
}
void relevance_product(float factor, Substitute sub, const float* x, const float* c, float* d, std::int64_t n,
                       bool add) noexcept {
  Operands o;
  device->kernels->relevance_product(factor, sub, o.in(x, n), o.in(c, n), o.out(d, n), n, add);
}
void rescale_multiplier(const float* x, const float* x0, const float* y, const float* y0, const float* slope,
                        const float* s, float* d, std::int64_t n, bool add) noexcept {
  Operands o;
  device->kernels->rescale_multiplier(o.in(x, n), o.in(x0, n), o.in(y, n), o.in(y0, n), o.in(slope, n), o.in(s, n),
                                      o.out(d, n), n, add);
}
void cross_max(const float* y, const float* y0, const float* s, float* a, float* b, std::int64_t n) noexcept {
  Operands o;
  device->kernels->cross_max(o.in(y, n), o.in(y0, n), o.in(s, n), o.out(a, n), o.out(b, n), n);
}
void select_by_sign(const float* d, const float* p, const float* q, float* z, std::int64_t n, bool add) noexcept {
  Operands o;
  device->kernels->select_by_sign(o.in(d, n), o.in(p, n), o.in(q, n), o.out(z, n), n, add);
}
void pseudo_count(const float* x, float* y, std::int64_t n) noexcept {
  Operands o;
  device->kernels->pseudo_count(o.in(x, n), o.out(y, n), n);
}
void safe_divide(const float* x, const float* y, float* z, std::int64_t n, bool add) noexcept {
  Operands o;
  device->kernels->safe_divide(o.in(x, n), o.in(y, n), o.out(z, n), n, add);
}

}  // namespace

const Kernels& staged(const Device& d) {
  device = &d;
  static Kernels t;
  t.gemm = {&plan, &pack, &gemm};
  t.conv_forward = {&plan, &pack, &conv<&Kernels::conv_forward>};
  t.conv_backward_data = {&plan, &pack, &conv<&Kernels::conv_backward_data>};
  t.conv_backward_weights = {&plan, &pack, &conv<&Kernels::conv_backward_weights>};
  t.filter_loss = {&plan, &pack, &filter_loss};
// clang-format off
#define VITRINE_STAGE(name) t.name = &name;
  VITRINE_STAGE(max_pool_forward)
  VITRINE_STAGE(max_pool_ties)
  VITRINE_STAGE(max_pool_gather)
  VITRINE_STAGE(max_pool_scatter)
  VITRINE_STAGE(avg_pool_forward)
  VITRINE_STAGE(avg_pool_backward)
  VITRINE_STAGE(map_forward)
  VITRINE_STAGE(map_backward)
  VITRINE_STAGE(rectify_backward)
  VITRINE_STAGE(fill)
  VITRINE_STAGE(scale)
  VITRINE_STAGE(multiply)
  VITRINE_STAGE(combine)
  VITRINE_STAGE(substitute)
  VITRINE_STAGE(copy)
  VITRINE_STAGE(dropout)
  VITRINE_STAGE(stats)
  VITRINE_STAGE(dot)
  VITRINE_STAGE(channel_sum)
  VITRINE_STAGE(channel_affine)
  VITRINE_STAGE(norm_coefficients)
  VITRINE_STAGE(batch_norm_forward)
  VITRINE_STAGE(batch_norm_backward)
  VITRINE_STAGE(lrn_forward)
  VITRINE_STAGE(lrn_backward)
  VITRINE_STAGE(template_gate)
  VITRINE_STAGE(peak_gate)
  VITRINE_STAGE(filter_state)
  VITRINE_STAGE(resize_forward)
  VITRINE_STAGE(resize_backward)
  VITRINE_STAGE(softmax_forward)
  VITRINE_STAGE(softmax_backward)
  VITRINE_STAGE(log_softmax_forward)
  VITRINE_STAGE(log_softmax_backward)
  VITRINE_STAGE(cross_entropy)
  VITRINE_STAGE(sgd)
  VITRINE_STAGE(adam)
  VITRINE_STAGE(relevance_quotient)
  VITRINE_STAGE(no_relevance)
  VITRINE_STAGE(relevance_product)
  VITRINE_STAGE(rescale_multiplier)
  VITRINE_STAGE(cross_max)
  VITRINE_STAGE(select_by_sign)
  VITRINE_STAGE(pseudo_count)
  VITRINE_STAGE(safe_divide)
// clang-format on
#undef VITRINE_STAGE
  return t;
}

}  // namespace vitrine::kernels::selfcheck
